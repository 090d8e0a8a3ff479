# An abort.
# outcome: crashed
# says: CRASHED

import os
os.abort()
