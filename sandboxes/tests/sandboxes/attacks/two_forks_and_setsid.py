# A daemon: two forks, setsid, and a new program.
# ends: exited 0

import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        null = os.open('/dev/null', os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        os.execv('/bin/sleep', ['sleep', 'MARK'])
    os._exit(0)
os.wait()
