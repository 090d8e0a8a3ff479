# Symbolic links, dots, descriptors and hard links that lead out.
# ends: exited 0
# prints: out []

import os
out = []
secret = 'SECRET'
os.symlink(secret, '/tmp/a')
os.symlink('../' * 20 + secret, '/tmp/b')
os.symlink('/proc/1/root', '/tmp/c')
os.symlink('/proc/self/root/../..', '/tmp/d')
for path in ('/tmp/a', '/tmp/b', '/tmp/c' + secret, '/tmp/d' + secret, '/tmp/' + '../' * 20 + secret, '/proc/self/root' + secret,
             '/proc/self/cwd/../../..' + secret):
    for flags in (os.O_RDONLY, os.O_WRONLY):
        try:
            os.close(os.open(path, flags))
            out.append(path)
        except OSError:
            pass
try:
    os.link('/usr/bin/python3', '/tmp/hard')
    out.append('a hard link')
except OSError:
    pass
root = os.open('/', os.O_RDONLY)
try:
    os.chroot('/tmp')
    os.fchdir(root)
    for _ in range(64):
        os.chdir('..')
    if os.path.exists(secret[1:]):
        out.append('chroot')
except OSError:
    pass
print('out', out)
