# A fault in C code.
# outcome: crashed
# observation: CRASHED

import ctypes
ctypes.string_at(0)
