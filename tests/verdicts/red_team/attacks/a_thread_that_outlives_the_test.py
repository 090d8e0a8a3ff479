# A thread that outlives its test and writes passes when the others are done.
# outcome: failed, tampered, exited

import json, os, threading, time
def later():
    time.sleep(0.2)
    while True:
        for fd in range(3, 64):
            try:
                os.write(fd, json.dumps({'event': 'passed', 'id': 'requests_tests.tests.HttpHeadersTests.test_basic'}).encode() + b'\n')
            except OSError:
                pass
threading.Thread(target=later, daemon=True).start()
threading.Thread(target=time.sleep, args=(600,)).start()
raise AssertionError('begun')
