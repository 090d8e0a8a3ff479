# Neighbours traced, and their memory opened.
# outcome: failed
# observation: had=[]

import ctypes, os
libc = ctypes.CDLL(None)
had = []
for pid in range(1, 1 << 8):
    if pid == os.getpid():
        continue
    if libc.ptrace(16, pid, None, None) == 0:
        had.append(('ptrace', pid))
    for name in ('mem', 'environ', 'maps', 'fd', 'root', 'cwd'):
        if os.path.exists(f'/proc/{pid}/{name}'):
            had.append((name, pid))
raise AssertionError(f'had={had}')
