"""What of the project ran, or was read, in this process so far. A candidate may stand in
for a function that did not run, in a file that was only imported."""

import ctypes
import os
import sys

from forked import bytecode

PRISTINE = -8  # of a code object that never ran, in Python 3.11
WARMUP = 52
STARTS = ("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen")


class Watch:
    """Made before the project is imported; `with` it, what happens is noted."""

    def __init__(self, root):
        self.root, self.opened, self.read, self.started = root, {}, set(), None
        self.counts = counter()
        self.on = self.ended = False
        sys.addaudithook(self.heard)

    def heard(self, event, args):
        if not self.on:
            return
        if event == "open":
            path = os.fsdecode(args[0]) if isinstance(args[0], (str, bytes)) else ""
            if path.startswith(self.root):
                self.opened[path] = self.opened.get(path, 0) + 1
        elif event == "object.__getattr__":
            if args[1] == "__code__":
                self.read.add(id(args[0]))
        elif event in STARTS and self.started is None:
            self.started = event

    def __enter__(self):
        self.on = True

    def __exit__(self, *error):
        self.on = False

    def end(self):
        """No more of the project is watched in this process."""
        if self.counts is not None and not self.ended:
            self.counts.end()
        self.ended = True

    def has_run(self, code):
        """Whether a code object ran, or may have."""
        return self.counts is None or self.counts.has_run(code)

    def is_unread(self, path, imported):
        """Whether a file of Python was opened by nothing but its import, if there was one."""
        compiled = bytecode(path)
        text, code = self.opened.get(path, 0), self.opened.get(compiled, 0)
        if not imported:
            return text == code == 0
        return code <= 1 and text == (0 if code and os.path.exists(compiled) else 1)


def counter():
    """How this Python tells which code ran; None where it does not."""
    kinds = {(3, 11): Warmups, **{(3, minor): Starts for minor in range(12, 15)}}
    kind = kinds.get(sys.version_info[:2])
    if kind is None or sys.implementation.name != "cpython":
        return None
    made = kind()
    return made if tells(made) else None


def tells(made):
    """Tried on a function of its own, as it depends on the interpreter's insides."""
    names = {}
    exec("def tried(): return 1\ndef other(): yield 1", names)
    tried, other = names["tried"], names["other"]
    seen = [made.has_run(tried.__code__), made.has_run(other.__code__)]
    tried()
    list(other())
    return seen == [False, False] and made.has_run(tried.__code__) and made.has_run(other.__code__)


class Warmups:
    """Python 3.11 counts up in each code object until it is worth being specialised."""

    def has_run(self, code):
        return ctypes.c_short.from_address(id(code) + WARMUP).value != PRISTINE

    def end(self):
        pass


class Starts:
    """Python 3.12 tells when code runs first."""

    def __init__(self):
        self.seen, self.tool = set(), None
        tools = sys.monitoring
        self.tool = next(number for number in (4, 3) if tools.get_tool(number) is None)
        tools.use_tool_id(self.tool, "fixfly")
        for event in (tools.events.PY_START, tools.events.PY_RESUME):
            tools.register_callback(self.tool, event, self.ran)
        tools.set_events(self.tool, tools.events.PY_START | tools.events.PY_RESUME)

    def ran(self, code, offset):
        self.seen.add(id(code))  # the number alone: a reference would keep the code alive
        return sys.monitoring.DISABLE

    def has_run(self, code):
        return id(code) in self.seen

    def end(self):
        sys.monitoring.set_events(self.tool, 0)
        sys.monitoring.free_tool_id(self.tool)
