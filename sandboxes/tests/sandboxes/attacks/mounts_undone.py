# Read-only mounts made writable, or taken away, in namespaces of its own too.
# ends: exited 0
# prints: undone []

import ctypes, os
libc = ctypes.CDLL(None)
undone = []
for flags in (0, 0x20000, 0x10000000 | 0x20000, 0x10000000 | 0x20000 | 0x20000000):
    libc.unshare(flags)
    for place in (b'/usr', b'/etc/alternatives', b'/', b'/proc/sys'):
        for how in (32, 32 | 4096):
            libc.mount(None, place, None, how, None)
        try:
            name = os.path.join(os.fsdecode(place), 'written')
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT))
            undone.append(name)
        except OSError:
            pass
    for kind in (b'cgroup', b'cgroup2', b'devtmpfs', b'debugfs', b'securityfs', b'bpf', b'fuse'):
        os.makedirs('/tmp/see', exist_ok=True)
        if libc.mount(kind, b'/tmp/see', kind, 0, None) == 0:
            undone.append(kind)
            libc.umount2(b'/tmp/see', 2)
print('undone', undone)
