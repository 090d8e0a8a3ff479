# 10 GB in many processes.
# outcome: out_of_memory, crashed, timed_out, failed, exited

import os, time
for _ in range(7):
    if os.fork() == 0:
        held = bytes(1500 << 20).replace(b'\0', b'x')
        time.sleep(60)
        os._exit(0)
os.wait()
raise AssertionError('one was killed')
