# 300 threads.
# outcome: failed
# observation: can't start new thread

import threading, time
for _ in range(300):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
