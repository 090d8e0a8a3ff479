# More time on the processor than there is.
# limits: cpu_seconds 1
# time: 20
# ends: signalled 9, signalled 24

while True:
    pass
