# Processes without end.
# limits: processes 64
# ends: exited 0
# prints: between 32 and 96

import os, time
mark = 'MARK'
forks = refused = 0
while refused < 50:
    try:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        forks += 1
    except OSError:
        refused += 1
print('between 32 and 96' if 32 <= forks <= 96 else forks)
