"""Starts the test server that this Python can run."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if sys.platform == "wasi":
    from instances import main
else:
    from server import main
main()
