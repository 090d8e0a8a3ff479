# A fork bomb.
# outcome: timed_out
# says: TIMED OUT

import os
while True:
    try:
        os.fork()
    except OSError:
        pass
