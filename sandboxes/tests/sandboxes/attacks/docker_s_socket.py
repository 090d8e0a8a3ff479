# The sockets of container engines.
# ends: exited 0
# prints: reached []

import os, socket
reached = []
for path in ('/var/run/docker.sock', '/run/docker.sock', '/run/containerd/containerd.sock', '/run/podman/podman.sock',
             '/run/systemd/private', '/run/dbus/system_bus_socket'):
    for name in (path, '\0' + path):
        try:
            with socket.socket(socket.AF_UNIX) as place:
                place.connect(name)
                reached.append(path)
        except OSError:
            pass
    if os.path.exists(path):
        reached.append(path)
print('reached', reached)
