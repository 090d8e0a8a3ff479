# Files until the disk is full, wherever one can write.
# limits: disk_mb 8 file_mb 6
# ends: exited 0
# prints: full

import os
written = 0
try:
    for number in range(100):
        for folder in ('/tmp', '/dev/shm'):
            with open(f'{folder}/{number}', 'wb') as file:
                file.write(bytes(1 << 20))
            written += 1
except OSError as error:
    written = 'full' if error.errno == 28 and written <= 8 else (written, error)
print(written)
