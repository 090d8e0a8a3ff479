"""Makes a fork of the test server look like a fresh process in the project."""

import os
import sys
import types

HERE = os.path.dirname(os.path.abspath(__file__))
MORE = []  # folders that modules are imported from, after the root
KEPT = []  # what is taken out of sight here, but still runs


def begin(root, program):
    """As `python -m program` starts in the project's folder: nothing of the
    server can be imported, as a project may have modules of the same names."""
    os.chdir(root)
    own = [root, *MORE]
    os.environ["PYTHONPATH"] = os.pathsep.join(own)
    sys.path[:] = [*own, *(path for path in sys.path if path not in (HERE, *own))]
    for name, module in list(sys.modules.items()):
        if os.path.dirname(getattr(module, "__file__", None) or "") == HERE:
            KEPT.append(sys.modules.pop(name))
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv[:] = [program]


def import_roots(root):
    """Where the project's modules are imported from, its own folder first."""
    inside = [path for path in sys.path if (path + "/").startswith(root + "/")]
    return list(dict.fromkeys([root, *inside]))
