# 10 GB in files of memory.
# outcome: out_of_memory, timed_out, failed

import os
for number in range(10 << 5):
    os.write(os.memfd_create(str(number)), bytes(32 << 20))
raise AssertionError('all fit')
