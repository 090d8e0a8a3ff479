# Os._exit(0).
# outcome: exited
# observation: EXITED

import os
os._exit(0)
