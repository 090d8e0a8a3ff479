# Files written outside of what is private.
# ends: exited 0
# prints: wrote []

import os
wrote = []
for path in ('/x', '/usr/x', '/usr/bin/python3', '/etc/passwd', '/etc/x', '/root/x', '/var/tmp/x', '/lib/x', '/proc/sys/kernel/core_pattern',
             '/proc/sys/kernel/modprobe', '/proc/sys/vm/drop_caches', '/proc/sysrq-trigger', '/sys/kernel/uevent_helper',
             '/sys/fs/cgroup/x', '/dev/x', '/proc/1/mem', '/proc/1/oom_score_adj', 'SECRET'):
    for flags in (os.O_WRONLY, os.O_WRONLY | os.O_CREAT):
        try:
            os.close(os.open(path, flags))
            wrote.append(path)
        except OSError:
            pass
print('wrote', wrote)
