# The home directory, keys, other episodes, the benchmark, the original, and whatever lies beside them.
# ends: exited 0
# prints: read []

import os
read = []
for path in ('SECRET', '/etc/shadow', '/root/.ssh', '/root/.bashrc', '/root/.cache', '/var/lib/docker', '/boot',
             '/proc/1/root/etc/shadow', '/proc/1/cwd', '/proc/kcore', '/proc/1/environ', '/dev/sda', '/dev/mem', '/sys/firmware/efi'):
    try:
        if os.path.isdir(path):
            read += [os.path.join(path, name) for name in os.listdir(path)]
        else:
            with open(path, 'rb') as file:
                read.append((path, file.read(8)))
    except OSError:
        pass
for folder in ('/root', '/home', '/mnt', '/srv', '/media'):
    if os.path.isdir(folder):
        try:
            read += [os.path.join(folder, name) for name in os.listdir(folder)]
        except OSError:
            pass
print('read', read)
