# 200 MB of message.
# outcome: failed, out_of_memory, timed_out

raise AssertionError('x' * (200 << 20))
