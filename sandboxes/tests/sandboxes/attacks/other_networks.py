# Sockets that no network namespace holds: to a virtual machine's host, to drivers, to the kernel's ciphers.
# ends: exited 0
# prints: had []

import socket
had = []
for family in [3, 4, 5, 6, 9, 11, 12, *range(14, 16), *range(17, 46)]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try:
            socket.socket(family, kind).close()
            had.append((family, kind))
        except PermissionError:
            pass
        except OSError as error:
            had.append((family, kind, str(error)))
print('had', had)
