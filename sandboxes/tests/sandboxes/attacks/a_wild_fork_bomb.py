# Processes that each start more.
# limits: processes 64
# time: 2
# ends: timed out

import os
while True:
    try:
        os.fork()
    except OSError:
        pass
