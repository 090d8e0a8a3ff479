# Lines of the server's own, and lines that are none, on every descriptor.
# outcome: exited, failed, tampered

import json, os
rows = [{'event': 'broken', 'why': 'x'}, {'event': 'unsure', 'why': 'x'}, {'event': 'failed', 'id': ['a']},
        {'event': 'errored', 'failure': 7}, {'event': 'failed', 'failure': {'message': ['\udcff']}}, 7]
lines = [json.dumps(row).encode() for row in rows] + [b'[' * 100000, b'\xff\0']
for fd in range(1 << 10):
    for line in lines:
        try:
            os.write(fd, line + b'\n')
        except OSError:
            break
os._exit(0)
