# Sys.exit(0).
# outcome: failed
# says: SystemExit

import sys
sys.exit(0)
