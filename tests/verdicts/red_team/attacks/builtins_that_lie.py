# Builtins that lie.
# outcome: failed, tampered, exited

import builtins
builtins.isinstance = lambda *args: True
builtins.all = builtins.any = lambda *args: True
