# Writing where others read.
# outcome: failed
# observation: AssertionError: wrote=[]

import os
wrote = []
for path in (__file__, '/src/x', '/src/django/x.py', '/fixfly/server.py', '/fixfly/x', '/env/x', '/etc/passwd',
             '/usr/x', '/x', '/root/x', '/var/tmp/x', '/proc/sys/net/ipv4/ip_forward', '/proc/sys/kernel/hostname',
             '/proc/sys/net/ipv4/ip_local_port_range', '/proc/sysrq-trigger'):
    for flags in (os.O_WRONLY, os.O_WRONLY | os.O_CREAT):
        try:
            os.close(os.open(path, flags))
            wrote.append(path)
        except OSError:
            pass
raise AssertionError(f'wrote={wrote}')
