# One file larger than files may be.
# limits: file_mb 4
# ends: signalled 25

import signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
with open('/tmp/a', 'wb') as file:
    for _ in range(8):
        file.write(bytes(1 << 20))
        file.flush()
print('had it all')
