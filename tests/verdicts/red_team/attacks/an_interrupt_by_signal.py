# Its own process interrupted, and the signals of its group.
# outcome: failed, exited, crashed

import os, signal
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
    signal.signal(number, lambda *_: os._exit(0))
os.killpg(0, signal.SIGINT)
raise AssertionError('not interrupted')
