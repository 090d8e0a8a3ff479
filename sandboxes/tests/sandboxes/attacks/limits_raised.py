# Limits raised.
# ends: exited 0
# prints: raised []

import resource
raised = []
for name in ('NPROC', 'FSIZE', 'NOFILE', 'CPU', 'CORE'):
    limit = getattr(resource, 'RLIMIT_' + name)
    hard = resource.getrlimit(limit)[1]
    try:
        resource.setrlimit(limit, (hard + 1, hard + 1))
        raised.append(name)
    except (OSError, ValueError):
        pass
print('raised', raised)
