# Memory in files of the private disk.
# limits: memory_mb 64 disk_mb 256 file_mb 256
# needs: memory
# ends: signalled 9

with open('/tmp/a', 'wb') as file:
    for _ in range(200):
        file.write(bytes(1 << 20))
print('had it all')
