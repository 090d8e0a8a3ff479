# An infinite loop.
# outcome: timed_out
# says: TIMED OUT

while True: pass
