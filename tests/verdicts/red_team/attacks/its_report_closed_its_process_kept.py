# Its report closed, its process kept.
# outcome: exited
# observation: EXITED

import os, time
os.closerange(0, 1 << 10)
time.sleep(30)
