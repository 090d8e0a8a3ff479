"""The first program of a container. It starts other programs on requests from its
standard input, each in user, mount and pid namespaces of its own. It exits when that
input ends, so a container never outlives fixfly.

A frame is a run's number, a letter, a length, and as many bytes.
"""

# Not `json` and `signal`, but what they are made of: those import forty files, and
# a container that has just begun reads each of them slowly.
import _json
import _signal as signal
import ctypes
import errno
import fcntl
import os
import resource
import select
import stat
import struct
import sys

HEAD = struct.Struct(">IcI")
MS_BIND = 4096
# The one writable folder of a container is a tmpfs; each program is shown a
# folder of it at each of these, so that one limit holds for all it writes.
SPACE = "/dev/shm"
WRITABLE = ("/tmp", "/dev/shm")
NEWNS, NEWUSER, NEWPID = 0x20000, 0x10000000, 0x20000000
NOSUID_NODEV_NOEXEC = 2 | 4 | 8
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
PIECE = 1 << 16
TAIL = 4096
HIGH = 900
libc = ctypes.CDLL(None, use_errno=True)


def checked(result, what):
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, "%s: %s" % (what, os.strerror(code)))


class Plain:
    """How JSON is read."""

    strict, object_hook, object_pairs_hook = True, None, None
    parse_float, parse_int, parse_constant = float, int, None


def read(text):
    return _json.make_scanner(Plain)(text.decode(), 0)[0]


def written(row):
    """One object of JSON, of texts, numbers and nothing."""
    def value(of):
        if of is None:
            return "null"
        if not isinstance(of, str):
            return "%d" % of
        # Half a surrogate pair is no text to who reads it: its escape is.
        return _json.encode_basestring_ascii(of.encode("utf-8", "backslashreplace").decode())
    return ("{%s}" % ", ".join('"%s": %s' % (name, value(of)) for name, of in row.items())).encode()


def send(number, letter, data=b""):
    data = HEAD.pack(number, letter, len(data)) + data
    while data:
        data = data[os.write(1, data):]


class Run:
    """A program, as the agent sees it."""

    def __init__(self, number, asked):
        self.number, self.cap = number, asked["cap"]
        self.kept, self.elided, self.report, self.input = {b"O": 0, b"R": 0}, 0, b"", b""
        # Output of a long-lived program is read only as far as fixfly acknowledges it.
        self.window, self.unread, self.tail = asked.get("window"), 0, b""
        self.input_ends = False
        stdin, stdout, stderr, life, news = (os.pipe() for _ in range(5))
        self.waiter = os.fork()
        if self.waiter == 0:
            begin(asked, stdin[0], stdout[1], stderr[1], life[0], news[1])
        for fd in (stdin[0], stdout[1], stderr[1], life[0], news[1]):
            os.close(fd)
        self.stdin, self.life, self.news = stdin[1], life[1], news[0]
        self.streams = {stdout[0]: b"O", stderr[0]: b"R"}
        for fd in (self.stdin, self.news, *self.streams):
            os.set_blocking(fd, False)

    def readable(self):
        full = self.window is not None and self.unread >= self.window
        return [self.news, *(fd for fd, letter in self.streams.items() if not (full and letter == b"O"))]

    def feed(self):
        """Writes what the program takes; true when there is no more to write."""
        if self.stdin is None:
            return
        try:
            while self.input:
                self.input = self.input[os.write(self.stdin, self.input[:PIECE]):]
        except BlockingIOError:
            return
        except OSError:
            self.input, self.input_ends = b"", True
        if self.input_ends:
            os.close(self.stdin)
            self.stdin = None

    def kill(self):
        if self.life is not None:
            os.close(self.life)
            self.life = None

    def drain(self, fd, wholly=False):
        """One piece of a stream, or all that is there."""
        while True:
            try:
                data = os.read(fd, PIECE)
            except BlockingIOError:
                return
            if not data:
                os.close(fd)
                del self.streams[fd]
                return
            letter = self.streams[fd]
            if self.window is not None:
                self.pass_on(letter, data)
                if not wholly:
                    return
                continue
            room = len(data) if self.cap is None else min(len(data), self.cap - self.kept[letter])
            self.kept[letter] += room
            self.elided += len(data) - room
            if room:
                send(self.number, letter, data[:room])
            if not wholly:
                return

    def pass_on(self, letter, data):
        """Passes on the output of a long-lived program: its answers, and the end of its stderr."""
        if letter == b"R":
            self.tail = (self.tail + data)[-TAIL:]
        else:
            self.unread += len(data)
            send(self.number, letter, data)

    def receive(self):
        """Reads the report of the program's init; true when the init has ended."""
        try:
            data = os.read(self.news, PIECE)
        except BlockingIOError:
            return False
        self.report += data
        return not data

    def finish(self):
        for fd in list(self.streams):
            self.drain(fd, wholly=True)
        if self.tail:
            send(self.number, b"R", self.tail)
        self.kill()
        for fd in (self.stdin, self.news, *self.streams):
            if fd is not None:
                os.close(fd)
        os.waitpid(self.waiter, 0)
        end = read(self.report.split(b"\n")[0] or b"{}")
        send(self.number, b"X", written({**end, "elided": self.elided}))


def begin(asked, stdin, stdout, stderr, life, news):
    """In the child, which stays outside to wait for the namespaces' init."""
    try:
        # Out of the way first, for one may have the number of another's place.
        apart = [fcntl.fcntl(fd, fcntl.F_DUPFD, HIGH) for fd in (stdin, stdout, stderr, life, news)]
        for number, fd in enumerate(apart):
            os.dup2(fd, number)
        life, news = 3, 4
        os.closerange(5, 4096)
        os.set_inheritable(life, False)
        os.set_inheritable(news, False)
        user, group = os.getuid(), os.getgid()
        write("/proc/self/oom_score_adj", "500")
        checked(libc.unshare(NEWUSER | NEWNS | NEWPID), "making namespaces")
        write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", "0 %d 1" % user)
        write("/proc/self/gid_map", "0 %d 1" % group)
        for folder in WRITABLE:
            part = (SPACE + "/" + os.path.basename(folder)).encode()
            checked(libc.mount(part, folder.encode(), None, MS_BIND, None), "showing " + folder)
        init = os.fork()
        if init == 0:
            become_init(asked, life, news)
        os.closerange(0, 5)
        os.waitpid(init, 0)
    except BaseException as error:
        fail(news, error, "")
    os._exit(0)


def become_init(asked, life, news):
    """Process 1 of the namespace: when it ends the kernel kills all others."""
    try:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # A copy of the agent: not to be read by what runs under it.
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        checked(libc.mount(b"proc", b"/proc", b"proc", NOSUID_NODEV_NOEXEC, None), "mounting /proc")
        wake, woken = os.pipe()
        os.set_blocking(woken, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        program = os.fork()
        if program == 0:
            signal.set_wakeup_fd(-1)
            become_program(asked, news)
        for fd in range(3):
            os.close(fd)
        while True:
            reap(program, news)
            ready = select.select([life, wake], [], [])[0]
            if life in ready:
                os._exit(0)
            os.read(wake, PIECE)
    except BaseException as error:
        fail(news, error, "")


def reap(program, news):
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == program:
            os.write(news, written({"status": status}) + b"\n")
            os._exit(0)
        if pid == 0:
            return


def become_program(asked, news):
    step = "setting limits"
    try:
        os.setsid()
        os.umask(0o022)
        for name, value in asked["limits"].items():
            which = getattr(resource, "RLIMIT_" + name)
            hard = resource.getrlimit(which)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (value, value))
        for name in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT):
            signal.signal(name, signal.SIG_DFL)
        step = ""
        if asked["kind"] in FILES:
            FILES[asked["kind"]]("/" + asked["path"])
            os._exit(0)
        step = "the folder " + asked["workdir"]
        os.chdir(asked["workdir"])
        step = ""
        env = asked["env"]
        for place in places(asked["argv"][0], env):
            try:
                os.execve(place, asked["argv"], env)
            except (FileNotFoundError, NotADirectoryError) as error:
                last = error
        raise last
    except BaseException as error:
        fail(news, error, step)


def places(program, env):
    if "/" in program:
        return [program]
    return [os.path.join(folder, program) for folder in env.get("PATH", "/usr/bin:/bin").split(":")]


def read_file(path):
    regular(path)
    with open(path, "rb") as file:
        while True:
            data = file.read(PIECE)
            if not data:
                return
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


def write_file(path):
    if not os.path.lexists(path):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    else:
        regular(path)
    with open(path, "wb") as file:
        while True:
            data = sys.stdin.buffer.read(PIECE)
            if not data:
                return
            file.write(data)


def regular(path):
    # Looked at before it is opened: opening a device or a pipe may act.
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file")


FILES = {"read": read_file, "write": write_file}


def fail(news, error, step):
    why = getattr(error, "strerror", None) or repr(error)
    text = "%s: %s" % (step, why) if step else why
    row = {"error": text, "errno": getattr(error, "errno", None)}
    os.write(news, written(row) + b"\n")
    os._exit(0)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


class Agent:
    def __init__(self):
        self.runs, self.asked = {}, b""
        for folder in WRITABLE:
            part = os.path.join(SPACE, os.path.basename(folder))
            os.mkdir(part)
            os.chmod(part, 0o1777)

    def live(self):
        send(0, b"H")
        while True:
            readers = {fd: run for run in self.runs.values() for fd in run.readable()}
            writers = {run.stdin: run for run in self.runs.values()
                       if run.stdin is not None and (run.input or run.input_ends)}
            poll = select.poll()
            for fd in (0, *readers):
                poll.register(fd, select.POLLIN)
            for fd in writers:
                poll.register(fd, select.POLLOUT)
            ready = [fd for fd, _ in poll.poll()]
            for fd in ready:
                run = writers.get(fd) or readers.get(fd)
                # One that ended a moment ago has closed its descriptors.
                if run is None or run.number not in self.runs:
                    continue
                if fd in writers:
                    run.feed()
                else:
                    self.receive(run, fd)
            if 0 in ready and not self.listen():
                return

    def receive(self, run, fd):
        if fd in run.streams:
            run.drain(fd)
        elif fd == run.news and run.receive():
            del self.runs[run.number]
            run.finish()

    def listen(self):
        data = os.read(0, PIECE)
        self.asked += data
        while len(self.asked) >= HEAD.size:
            number, letter, size = HEAD.unpack_from(self.asked)
            if len(self.asked) < HEAD.size + size:
                break
            body = self.asked[HEAD.size:HEAD.size + size]
            self.asked = self.asked[HEAD.size + size:]
            self.dispatch(number, letter, body)
        return bool(data)

    def dispatch(self, number, letter, body):
        if letter == b"S":
            try:
                self.runs[number] = Run(number, read(body))
            except OSError as error:
                send(number, b"X", written({"error": error.strerror, "elided": 0}))
        elif letter == b"Q":
            os._exit(0)
        elif number in self.runs:
            run = self.runs[number]
            if letter == b"I":
                run.input += body
            elif letter == b"E":
                run.input_ends = True
            elif letter == b"K":
                run.kill()
            elif letter == b"A":
                run.unread -= int.from_bytes(body, "big")


Agent().live()
