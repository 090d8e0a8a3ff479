# The network, other machines, the host's loopback, and the addresses that give clouds' keys.
# ends: exited 0
# prints: reached []

import socket
reached = []
for family, place in ((2, ('127.0.0.1', PORT)), (2, ('1.1.1.1', 53)), (2, ('8.8.8.8', 443)), (2, ('169.254.169.254', 80)),
                      (2, ('169.254.170.2', 80)), (2, ('100.100.100.200', 80)), (2, ('172.17.0.1', PORT)),
                      (10, ('fd00:ec2::254', 80)), (10, ('::1', PORT))):
    try:
        place_socket = socket.socket(family, socket.SOCK_STREAM)
        place_socket.settimeout(1)
        place_socket.connect(place)
        reached.append(place)
    except OSError:
        pass
try:
    socket.getaddrinfo('example.com', 80)
    reached.append('names')
except OSError:
    pass
print('reached', reached)
