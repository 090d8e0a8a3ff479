# Memory in many processes, each of which takes little.
# limits: memory_mb 128
# needs: memory
# ends: exited 0
# prints: some were killed

import os, time
children = []
for _ in range(8):
    pid = os.fork()
    if pid == 0:
        held = bytearray(b'x' * (64 << 20))
        time.sleep(2)
        os._exit(0)
    children.append(pid)
killed = sum(os.WIFSIGNALED(os.waitpid(pid, 0)[1]) for pid in children)
print('some were killed' if killed else 'all had it')
