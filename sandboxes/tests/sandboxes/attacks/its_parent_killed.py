# Its parent killed, process 1, fixfly itself, and everybody.
# ends: exited 0, signalled 9, signalled 15
# time: 10

import os, signal
for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
    for pid in (os.getppid(), 1, FIXFLY, *range(2, 64)):
        if pid != os.getpid():
            try:
                os.kill(pid, number)
            except OSError:
                pass
