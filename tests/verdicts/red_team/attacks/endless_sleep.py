# Endless sleep.
# outcome: timed_out
# observation: TIMED OUT

import time
time.sleep(10 ** 6)
