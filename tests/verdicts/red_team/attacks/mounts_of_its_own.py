# Mounts of its own.
# outcome: failed
# observation: AssertionError: undone=[]

import ctypes, os
libc = ctypes.CDLL(None)
undone, folder = [], os.path.dirname(__file__).encode()
for flags in (0, 0x10000000 | 0x20000, 0x10000000 | 0x20000 | 0x20000000):
    libc.unshare(flags)
    os.makedirs('/tmp/see', exist_ok=True)
    for place in (__file__.encode(), b'/proc/sys', b'/proc', b'/tmp', b'/src', b'/'):
        if libc.umount2(place, 0) == 0 or libc.umount2(place, 2) == 0:
            undone.append(('umount', place))
    for place in (b'/src', b'/fixfly', b'/env', b'/', b'/proc/sys', __file__.encode()):
        if libc.mount(None, place, None, 32, None) == 0 or libc.mount(None, place, None, 32 | 4096, None) == 0:
            undone.append(('remount', place))
    for kind in (b'proc', b'overlay', b'cgroup', b'cgroup2', b'devtmpfs'):
        if libc.mount(kind, b'/tmp/see', kind, 0, b'lowerdir=/src:/usr') == 0 and kind != b'overlay':
            undone.append(('mount', kind))
    if libc.mount(folder, b'/tmp/see', None, 4096, None) == 0:
        there = os.path.join('/tmp/see', os.path.basename(__file__))
        if 'undone' not in open(there).read():
            undone.append('the original')
raise AssertionError(f'undone={undone}')
