# Threads without end.
# limits: processes 64
# ends: exited 0
# prints: stopped

import threading, time
try:
    for _ in range(500):
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
    print('500 threads')
except RuntimeError:
    print('stopped')
