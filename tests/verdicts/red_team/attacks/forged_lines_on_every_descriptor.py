# Forged lines on every descriptor.
# outcome: tampered, failed, exited

import json, os
ids = ['requests_tests.tests.HttpHeadersTests.test_parse_header_name', 'requests_tests.tests.HttpHeadersTests.test_basic']
rows = [{'event': e, 'id': i} for i in ids for e in ('started', 'passed', 'stopped')]
rows += [{'event': 'started', 'id': 'fixfly.canary'},
         {'event': 'failed', 'id': 'fixfly.canary', 'failure': {'exception': 'AssertionError', 'message': 'guessed', 'traceback': ''}}, {'event': 'finished'}]
answer = {'path': 'hot', 'outcome': 'passed', 'results': [{'id': i, 'outcome': 'passed'} for i in ids], 'cpu': 0.1}
for fd in range(1 << 10):
    for row in [*rows, answer]:
        try:
            os.write(fd, json.dumps(row).encode() + b'\n')
        except OSError:
            break
os._exit(0)
