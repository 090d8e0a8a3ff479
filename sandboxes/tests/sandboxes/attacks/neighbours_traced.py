# Neighbours traced, their memory opened, their descriptors taken.
# ends: exited 0
# prints: had []

import ctypes, os
libc = ctypes.CDLL(None)
had = []
own = {os.getpid()}
for pid in {1, os.getppid(), FIXFLY, *(int(name) for name in os.listdir('/proc') if name.isdigit())} - own:
    if libc.ptrace(16, pid, None, None) == 0:
        had.append(('ptrace', pid))
    for name in ('mem', 'maps', 'environ'):
        try:
            with open(f'/proc/{pid}/{name}', 'rb') as file:
                if file.read(16):
                    had.append((name, pid))
        except (OSError, ValueError, OverflowError):
            pass
    try:
        os.listdir(f'/proc/{pid}/fd')
        had.append(('fd', pid))
    except OSError:
        pass
print('had', had)
