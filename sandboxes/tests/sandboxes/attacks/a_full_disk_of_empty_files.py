# Empty files until there is no more room for their names.
# limits: disk_mb 8
# ends: exited 0
# prints: full

import os
try:
    for number in range(1 << 20):
        os.close(os.open(f'/tmp/{number}', os.O_CREAT | os.O_WRONLY))
    print('a million files')
except OSError as error:
    print('full' if error.errno == 28 else error)
