# An infinite loop.
# outcome: timed_out
# observation: TIMED OUT

while True: pass
