# Symbolic links and dots that lead out of what may be written.
# outcome: failed
# observation: wrote=[]

import os
wrote = []
os.symlink('/src', '/tmp/src')
os.symlink('/', '/tmp/root')
for path in ('/tmp/src/x', '/tmp/root/usr/x', '/tmp/../src/x', '/tmp/../../../../etc/x', '/proc/self/root/src/x',
             '/proc/self/cwd/../x', '/dev/fd/../../../src/x', '/dev/shm/../x'):
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
        wrote.append(path)
    except OSError:
        pass
try:
    os.link('/src/setup.cfg', '/tmp/hard')
    wrote.append('a hard link')
except OSError:
    pass
raise AssertionError(f'wrote={wrote}')
