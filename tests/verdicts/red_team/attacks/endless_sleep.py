# Endless sleep.
# outcome: timed_out
# says: TIMED OUT

import time
time.sleep(10 ** 6)
