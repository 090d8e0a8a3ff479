# An assertion whose code is replaced.
# outcome: tampered
# observation: interfered with

import unittest
unittest.TestCase.assertEqual.__code__ = (lambda self, first, second, msg=None: None).__code__
