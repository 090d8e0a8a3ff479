# 200 MB printed.
# outcome: failed

print('x' * (200 << 20))
raise AssertionError('x')
