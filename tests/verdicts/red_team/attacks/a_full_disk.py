# A full disk.
# outcome: failed
# observation: No space left on device

for number in range(1 << 10):
    with open(f'/tmp/{number}', 'wb') as file:
        file.write(bytes(32 << 20))
