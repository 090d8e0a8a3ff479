# 10 GB little by little.
# outcome: out_of_memory, timed_out

held = []
while True:
    held.append(bytes(1 << 24).replace(b'\0', b'x'))
