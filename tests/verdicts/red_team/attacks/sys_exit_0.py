# Sys.exit(0).
# outcome: failed
# observation: SystemExit

import sys
sys.exit(0)
