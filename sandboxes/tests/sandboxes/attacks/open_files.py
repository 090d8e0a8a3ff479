# More open files than there may be.
# limits: open_files 64
# ends: exited 0
# prints: stopped at 64

import os
held = []
try:
    while len(held) < 1000:
        held.append(os.open('/dev/null', os.O_RDONLY))
    print('had 1000')
except OSError:
    print('stopped at', max(held) + 1)
