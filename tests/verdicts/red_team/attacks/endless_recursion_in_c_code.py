# Endless recursion in C code.
# outcome: crashed, out_of_memory, failed

import sys
sys.setrecursionlimit(1 << 30)
class Deep:
    def __repr__(self):
        return repr(self)
repr(Deep())
