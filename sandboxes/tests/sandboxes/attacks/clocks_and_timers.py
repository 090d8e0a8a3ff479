# Clocks set, so that no time limit is met.
# time: 2
# ends: timed out

import time
for clock in (time.CLOCK_REALTIME, time.CLOCK_MONOTONIC):
    try:
        time.clock_settime(clock, 0)
        raise SystemExit('set')
    except OSError:
        pass
while True:
    time.sleep(60)
