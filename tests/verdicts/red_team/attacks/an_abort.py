# An abort.
# outcome: crashed
# observation: CRASHED

import os
os.abort()
