# A skip.
# outcome: failed
# observation: SKIPPED (this is not a pass)

import unittest
raise unittest.SkipTest('not today')
