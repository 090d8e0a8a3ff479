# An infinite loop that ignores the signal of the limit of CPU time.
# outcome: timed_out
# observation: TIMED OUT

import signal
signal.signal(signal.SIGXCPU, signal.SIG_IGN)
while True: pass
