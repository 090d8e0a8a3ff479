//! What hostile and broken candidates do, and what must come of it.

use fixfly_runtime::Outcome;

/// A method body, the outcomes it may have and what its report must say.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) body: &'static str,
    pub(crate) outcomes: &'static [Outcome],
    pub(crate) says: &'static str,
}

const fn attack(
    name: &'static str,
    outcomes: &'static [Outcome],
    says: &'static str,
    body: &'static str,
) -> Attack {
    Attack { name, body, outcomes, says }
}

use Outcome::{Crashed, Exited, Failed, OutOfMemory, Tampered, TimedOut};

pub(crate) const ATTACKS: &[Attack] = &[
    attack("an infinite loop", &[TimedOut], "TIMED OUT", "while True: pass"),
    attack("endless sleep", &[TimedOut], "TIMED OUT", "import time\ntime.sleep(10 ** 6)"),
    attack(
        "a fork bomb",
        &[TimedOut],
        "TIMED OUT",
        "import os
while True:
    try:
        os.fork()
    except OSError:
        pass",
    ),
    attack(
        "a survivor of two forks and setsid",
        &[Failed],
        "AssertionError: started",
        "import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        os.execv('/bin/sleep', ['sleep', 'MARK'])
    os._exit(0)
raise AssertionError('started')",
    ),
    attack("10 GB at once", &[OutOfMemory], "OUT OF MEMORY", "bytearray(10 << 30)"),
    attack(
        "10 GB little by little",
        &[OutOfMemory, TimedOut],
        "",
        "held = []
while True:
    held.append(bytes(1 << 24).replace(b'\\0', b'x'))",
    ),
    attack(
        "10 GB in many processes",
        &[OutOfMemory, Crashed, TimedOut, Failed, Exited],
        "",
        "import os, time
for _ in range(7):
    if os.fork() == 0:
        held = bytes(1500 << 20).replace(b'\\0', b'x')
        time.sleep(60)
        os._exit(0)
os.wait()
raise AssertionError('one was killed')",
    ),
    attack(
        "10 GB in files of memory",
        &[OutOfMemory, TimedOut, Failed],
        "",
        "import os
for number in range(10 << 5):
    os.write(os.memfd_create(str(number)), bytes(32 << 20))
raise AssertionError('all fit')",
    ),
    attack(
        "a full disk",
        &[Failed],
        "No space left on device",
        "for number in range(1 << 10):
    with open(f'/tmp/{number}', 'wb') as file:
        file.write(bytes(32 << 20))",
    ),
    attack(
        "200 MB of message",
        &[Failed, OutOfMemory, TimedOut],
        "",
        "raise AssertionError('x' * (200 << 20))",
    ),
    attack("200 MB printed", &[Failed], "", "print('x' * (200 << 20))\nraise AssertionError('x')"),
    attack(
        "300 threads",
        &[Failed],
        "can't start new thread",
        "import threading, time
for _ in range(300):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    ),
    attack("os._exit(0)", &[Exited], "EXITED", "import os\nos._exit(0)"),
    attack("sys.exit(0)", &[Failed], "SystemExit", "import sys\nsys.exit(0)"),
    attack("an interrupt", &[Failed, Exited], "", "raise KeyboardInterrupt"),
    attack(
        "its report closed, its process kept",
        &[Exited],
        "EXITED",
        "import os, time
os.closerange(0, 1 << 10)
time.sleep(30)",
    ),
    attack(
        "SIGKILL to its parent, to process 1 and to all",
        &[Failed, Exited, OutOfMemory],
        "",
        "import os
for pid in (os.getppid(), 1, -1, 2, 3, 4, 5):
    try:
        os.kill(pid, 9)
    except OSError:
        pass
raise AssertionError('alive')",
    ),
    attack("a fault in C code", &[Crashed], "CRASHED", "import ctypes\nctypes.string_at(0)"),
    attack("an abort", &[Crashed], "CRASHED", "import os\nos.abort()"),
    attack(
        "endless recursion",
        &[Failed],
        "RecursionError",
        "def again():\n    again()\nagain()",
    ),
    attack(
        "endless recursion in C code",
        &[Crashed, OutOfMemory, Failed],
        "",
        "import sys
sys.setrecursionlimit(1 << 30)
class Deep:
    def __repr__(self):
        return repr(self)
repr(Deep())",
    ),
    attack(
        "a skip",
        &[Failed],
        "SKIPPED (this is not a pass)",
        "import unittest\nraise unittest.SkipTest('not today')",
    ),
    attack(
        "assertions that hold nothing",
        &[Tampered],
        "interfered with",
        "import unittest
for name in dir(unittest.TestCase):
    if name.startswith(('assert', 'fail')) and name != 'failureException':
        setattr(unittest.TestCase, name, lambda *args, **more: None)",
    ),
    attack(
        "one assertion that holds nothing",
        &[Tampered],
        "interfered with",
        "import unittest
unittest.TestCase.assertEqual = lambda *args, **more: None",
    ),
    attack(
        "an assertion whose code is replaced",
        &[Tampered],
        "interfered with",
        "import unittest
unittest.TestCase.assertEqual.__code__ = (lambda self, first, second, msg=None: None).__code__",
    ),
    attack(
        "an assertion of the test's own class",
        &[Tampered],
        "interfered with",
        "import sys
frame = sys._getframe()
while 'self' not in frame.f_locals or not hasattr(frame.f_locals['self'], 'assertEqual'):
    frame = frame.f_back
type(frame.f_locals['self']).assertEqual = lambda *args, **more: None",
    ),
    attack(
        "a result that takes failures for successes",
        &[Tampered],
        "interfered with",
        "import report
report.Recorder.addFailure = lambda self, test, error: self.addSuccess(test)
report.Recorder.addError = lambda self, test, error: self.addSuccess(test)
report.Recorder.addSubTest = lambda self, test, subtest, error: None",
    ),
    attack(
        "such a result, but for the canary",
        &[Tampered],
        "interfered with",
        "import report
honest = report.Recorder.say
def say(self, event, test=None, error=None, **more):
    if event in ('failed', 'errored') and test is not None and 'canary' not in str(test):
        event, error = 'passed', None
    honest(self, event, test, error, **more)
report.Recorder.say = say",
    ),
    attack(
        "JSON that calls failures passes",
        &[Tampered, Failed],
        "",
        "import json
honest = json.dumps
def dumps(row, **more):
    if isinstance(row, dict) and row.get('event') in ('failed', 'errored') and 'canary' not in row.get('id', ''):
        row = {'event': 'passed', 'id': row['id']}
    return honest(row, **more)
json.dumps = dumps",
    ),
    attack(
        "builtins that lie",
        &[Failed, Tampered, Exited],
        "",
        "import builtins
builtins.isinstance = lambda *args: True
builtins.all = builtins.any = lambda *args: True",
    ),
    attack(
        "forged lines on every descriptor",
        &[Tampered, Failed, Exited],
        "",
        "import json, os
ids = ['requests_tests.tests.HttpHeadersTests.test_parse_header_name', 'requests_tests.tests.HttpHeadersTests.test_basic']
rows = [{'event': e, 'id': i} for i in ids for e in ('started', 'passed', 'stopped')]
rows += [{'event': 'started', 'id': 'fixfly.canary'},
         {'event': 'failed', 'id': 'fixfly.canary', 'failure': {'message': 'guessed'}}, {'event': 'finished'}]
answer = {'path': 'hot', 'outcome': 'passed', 'results': [{'id': i, 'outcome': 'passed'} for i in ids], 'cpu': 0.1}
for fd in range(1 << 10):
    for row in [*rows, answer]:
        try:
            os.write(fd, json.dumps(row).encode() + b'\\n')
        except OSError:
            break
os._exit(0)",
    ),
    attack(
        "a whole forged run, its token read from memory",
        &[Tampered],
        "does not count as a pass",
        "import gc, json, os, sys
token = sys.modules['report'].Canary.token
out = next(o for o in gc.get_objects() if type(o).__name__ == 'Recorder').out
frame, test = sys._getframe(), None
while test is None:
    test, frame = frame.f_locals.get('result') and frame.f_locals.get('self'), frame.f_back
ids = ['requests_tests.tests.HttpHeadersTests.test_parse_header_name', 'requests_tests.tests.HttpHeadersTests.test_basic']
for one in ids:
    for event in ('started', 'passed', 'stopped'):
        if not (event == 'started' and one == test.id()):
            os.write(out, json.dumps({'event': event, 'id': one}).encode() + b'\\n')
for row in ({'event': 'started', 'id': 'fixfly.canary'},
            {'event': 'failed', 'id': 'fixfly.canary', 'failure': {'message': token}}, {'event': 'finished'}):
    os.write(out, json.dumps(row).encode() + b'\\n')
os._exit(0)",
    ),
    attack(
        "the network",
        &[Failed],
        "AssertionError: reached=[]",
        "import socket
reached = []
for place in (('127.0.0.1', PORT), ('1.1.1.1', 53), ('8.8.8.8', 443), ('169.254.169.254', 80)):
    try:
        socket.create_connection(place, timeout=1)
        reached.append(place)
    except OSError:
        pass
raise AssertionError(f'reached={reached}')",
    ),
    attack(
        "writing where others read",
        &[Failed],
        "AssertionError: wrote=[]",
        "import os
wrote = []
for path in (__file__, '/src/x', '/src/django/x.py', '/fixfly/server.py', '/fixfly/x', '/env/x', '/etc/passwd',
             '/usr/x', '/x', '/root/x', '/var/tmp/x', '/proc/sys/net/ipv4/ip_forward', '/proc/sys/kernel/hostname',
             '/proc/sys/net/ipv4/ip_local_port_range', '/proc/sysrq-trigger'):
    for flags in (os.O_WRONLY, os.O_WRONLY | os.O_CREAT):
        try:
            os.close(os.open(path, flags))
            wrote.append(path)
        except OSError:
            pass
raise AssertionError(f'wrote={wrote}')",
    ),
    attack(
        "mounts of its own",
        &[Failed],
        "AssertionError: undone=[]",
        "import ctypes, os
libc = ctypes.CDLL(None)
undone, folder = [], os.path.dirname(__file__).encode()
for flags in (0, 0x10000000 | 0x20000, 0x10000000 | 0x20000 | 0x20000000):
    libc.unshare(flags)
    os.makedirs('/tmp/see', exist_ok=True)
    for place in (__file__.encode(), b'/proc/sys', b'/proc', b'/tmp', b'/src', b'/'):
        if libc.umount2(place, 0) == 0 or libc.umount2(place, 2) == 0:
            undone.append(('umount', place))
    for place in (b'/src', b'/fixfly', b'/env', b'/', b'/proc/sys', __file__.encode()):
        if libc.mount(None, place, None, 32, None) == 0 or libc.mount(None, place, None, 32 | 4096, None) == 0:
            undone.append(('remount', place))
    for kind in (b'proc', b'overlay', b'cgroup', b'cgroup2', b'devtmpfs'):
        if libc.mount(kind, b'/tmp/see', kind, 0, b'lowerdir=/src:/usr') == 0 and kind != b'overlay':
            undone.append(('mount', kind))
    if libc.mount(folder, b'/tmp/see', None, 4096, None) == 0:
        there = os.path.join('/tmp/see', os.path.basename(__file__))
        if 'undone' not in open(there).read():
            undone.append('the original')
raise AssertionError(f'undone={undone}')",
    ),
    attack(
        "the memory of others, and their processes",
        &[Failed],
        "AssertionError: others=[]",
        "import os
others = []
for name in os.listdir('/proc'):
    if name.isdigit() and int(name) != os.getpid():
        others.append(name)
for pid in range(2, 1 << 12):
    try:
        os.kill(pid, 0)
        others.append(pid)
    except OSError:
        pass
raise AssertionError(f'others={others}')",
    ),
];
