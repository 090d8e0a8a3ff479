# The memory of others, and their processes.
# outcome: failed
# observation: AssertionError: others=[]

import os
others = []
for name in os.listdir('/proc'):
    if name.isdigit() and int(name) != os.getpid():
        others.append(name)
for pid in range(2, 1 << 8):
    try:
        os.kill(pid, 0)
        others.append(pid)
    except OSError:
        pass
raise AssertionError(f'others={others}')
