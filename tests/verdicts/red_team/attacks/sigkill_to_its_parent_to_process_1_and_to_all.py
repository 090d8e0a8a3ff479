# SIGKILL to its parent, to process 1 and to all.
# outcome: failed, exited, out_of_memory

import os
for pid in (os.getppid(), 1, -1, 2, 3, 4, 5):
    try:
        os.kill(pid, 9)
    except OSError:
        pass
raise AssertionError('alive')
