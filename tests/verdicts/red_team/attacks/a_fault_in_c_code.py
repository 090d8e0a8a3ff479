# A fault in C code.
# outcome: crashed
# says: CRASHED

import ctypes
ctypes.string_at(0)
