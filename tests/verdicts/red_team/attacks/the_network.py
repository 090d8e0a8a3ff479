# The network.
# outcome: failed
# observation: AssertionError: reached=[]

import socket
reached = []
for place in (('127.0.0.1', PORT), ('1.1.1.1', 53), ('8.8.8.8', 443), ('169.254.169.254', 80)):
    try:
        socket.create_connection(place, timeout=1)
        reached.append(place)
    except OSError:
        pass
raise AssertionError(f'reached={reached}')
