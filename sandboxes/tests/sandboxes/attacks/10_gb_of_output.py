# 10 GB of output.
# time: 5
# ends: timed out, exited 0
# kept: 1048576

import os
piece = bytes(1 << 20)
for _ in range(10 << 10):
    os.write(1, piece)
    os.write(2, piece)
