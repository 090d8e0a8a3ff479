# Os._exit(0).
# outcome: exited
# says: EXITED

import os
os._exit(0)
