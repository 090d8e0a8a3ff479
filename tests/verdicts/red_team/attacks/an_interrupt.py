# An interrupt.
# outcome: failed, exited

raise KeyboardInterrupt
