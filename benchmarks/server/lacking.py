"""What Python on WASI lacks and tools of testing import without need."""

import sys
import types


def install():
    for name in ("ctypes", "_multiprocessing", "_posixsubprocess", "fcntl", "resource", "pwd", "grp", "termios"):
        if name not in sys.modules:
            sys.modules[name] = types.ModuleType(name)
