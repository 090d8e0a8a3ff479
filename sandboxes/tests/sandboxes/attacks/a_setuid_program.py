# Programs that become root.
# ends: exited 0
# prints: root []

import os, subprocess
root = []
for path in ('/usr/bin/su', '/usr/bin/sudo', '/usr/bin/passwd', '/bin/mount', '/usr/bin/newgrp', '/usr/bin/chsh'):
    try:
        if os.stat(path).st_mode & 0o4000:
            with open('/proc/self/status') as status:
                before = [line for line in status if line.startswith('NoNewPrivs')]
            if before != ['NoNewPrivs:\t1\n']:
                root.append(path)
    except OSError:
        pass
try:
    os.chown('/tmp', 4711, 4711)
    root.append('chown')
except OSError:
    pass
print('root', root)
