# Clocks set and timers raised, so that no time limit is met.
# outcome: failed
# observation: set=[]

import ctypes, resource, signal, time
libc = ctypes.CDLL(None)
done = []
for clock in (time.CLOCK_REALTIME, time.CLOCK_MONOTONIC):
    try:
        time.clock_settime(clock, 0)
        done.append(clock)
    except OSError:
        pass
for limit in (resource.RLIMIT_CPU, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_AS):
    hard = resource.getrlimit(limit)[1]
    try:
        resource.setrlimit(limit, (hard * 2, hard * 2))
        done.append(limit)
    except (OSError, ValueError):
        pass
if libc.unshare(0x80) == 0:
    done.append('time namespace')
raise AssertionError(f'set={done}')
