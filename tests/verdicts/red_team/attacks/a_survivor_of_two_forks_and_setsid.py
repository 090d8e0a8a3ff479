# A survivor of two forks and setsid.
# outcome: failed
# observation: AssertionError: started

import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        os.execv('/bin/sleep', ['sleep', 'MARK'])
    os._exit(0)
raise AssertionError('started')
