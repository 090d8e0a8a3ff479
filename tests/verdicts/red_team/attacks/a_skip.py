# A skip.
# outcome: failed
# says: SKIPPED (this is not a pass)

import unittest
raise unittest.SkipTest('not today')
