# 100 GB of memory, little by little.
# limits: memory_mb 128
# needs: memory
# ends: signalled 9

held = []
for _ in range(100 << 10):
    held.append(bytearray(b'x' * (1 << 20)))
print('had it all')
