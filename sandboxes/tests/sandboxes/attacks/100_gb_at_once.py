# 100 GB of memory at once, all of it touched.
# limits: memory_mb 128
# needs: memory
# ends: signalled 9, exited 0

import mmap
try:
    room = mmap.mmap(-1, 100 << 30)
    for at in range(0, 100 << 30, 4096):
        room[at] = 1
    print('had it all')
except (OSError, MemoryError, ValueError):
    print('refused')
