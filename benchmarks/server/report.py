"""Test results as data: what the child writes down, and what its parent makes
of it. The parent trusts nothing: each expected test counts as passed only when
it was started once, reported once, as passed, and the canary failed as it must.
"""

import json
import os
import re
import signal
import sys
import sysconfig
import traceback
import unittest

KEEP = 4000
LIBRARY = sysconfig.get_paths()["stdlib"] + "/"
PACKAGES = sysconfig.get_paths()["purelib"] + "/"
HERE = os.path.dirname(os.path.abspath(__file__)) + "/"
HARNESS = ("unittest/", "_pytest/", "pluggy/", "asyncio/", "concurrent/", "asgiref/", "contextlib.py", "threading.py")


def clip(text, most=KEEP):
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def steady(text, root):
    """Takes out of a text what differs from run to run."""
    for prefix, name in ((root, ""), (PACKAGES, ""), (LIBRARY, ""), (HERE, "fixfly/")):
        text = text.replace(prefix, name)
    text = re.sub(r"/tmp/(?:django_)?[a-z0-9_]{6,}(?=[/'\"\s]|$)", "/tmp/_", text)
    text = re.sub(r"\b0x[0-9a-fA-F]{6,}\b", "0x_", text)
    return re.sub(r"\b(in|after) \d+\.\d+ ?s(?:econds)?\b", r"\1 _s", text)


def kind_of(error):
    module, name = type(error).__module__, type(error).__qualname__
    return name if module in ("builtins", "unittest.case") else f"{module}.{name}"


def frames_of(error, root):
    """The frames a developer would read: tests and project, and a library's
    last frame where the error is raised there. Never the harness."""
    frames = [f for f in traceback.extract_tb(error.__traceback__)]
    ours = [f for f in frames if f.filename.startswith(root) and "/django/test/" not in f.filename]
    last = frames[-1:] if frames and frames[-1] not in ours else []
    last = [f for f in last if not any(h in f.filename for h in HARNESS) and not f.filename.startswith(HERE)
            and "/django/test/" not in f.filename]
    return ours + last


def describe(error, root):
    """A failure as data. Chained errors keep one level: the cause a developer needs."""
    parts = []
    chained = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for one, joint in ((chained, None), (error, chained)):
        if one is None:
            continue
        if joint is not None:
            parts.append("\nDuring handling of the above exception, another exception occurred:\n\n")
        parts.append("Traceback (most recent call last):\n")
        parts.extend(traceback.format_list(frames_of(one, root)))
        try:
            parts.extend(clip(line) for line in traceback.format_exception_only(type(one), one))
        except Exception as broken:
            parts.append(f"{kind_of(one)}: <its text raised {kind_of(broken)}>\n")
    try:
        message = clip(str(error), 16 * KEEP)
    except Exception as broken:
        message = f"<its text raised {kind_of(broken)}>"
    return {
        "exception": kind_of(error),
        "message": clip(steady(message, root)),
        "traceback": clip(steady("".join(parts), root), 2 * KEEP),
    }


class Recorder(unittest.TestResult):
    """Writes each event down at once, so that what was done before a crash stays."""

    def __init__(self, out, root, printed=None, probe=None):
        super().__init__()
        self.out, self.root, self.printed, self.probe = out, root, printed, probe

    def say(self, event, test=None, error=None, **more):
        row = {"event": event, **more}
        if test is not None:
            row["id"] = getattr(test, "test_case", test).id()  # of a subtest, the test
        if error is not None:
            row["failure"] = describe(error[1], self.root)
            text = self.printed.take() if self.printed else ""
            if text:
                row["failure"]["output"] = clip(steady(text, self.root))
            if isinstance(error[1], MemoryError):
                row["event"] = "out_of_memory"
        self.write((json.dumps(row) + "\n").encode())

    def write(self, data):
        while data:
            data = data[os.write(self.out, data):]

    def startTest(self, test):
        super().startTest(test)
        if self.printed:
            self.printed.take()
        self.say("started", test)

    def stopTest(self, test):
        super().stopTest(test)
        self.say("stopped", test)

    def addSuccess(self, test):
        self.say("passed", test)

    def addFailure(self, test, error):
        self.failures.append((test, ""))
        self.say("failed", test, error)

    def addError(self, test, error):
        self.errors.append((test, ""))
        self.say("errored", test, error)

    def addSkip(self, test, reason):
        self.say("skipped", test, reason=clip(str(reason)))

    def addExpectedFailure(self, test, error):
        self.say("expected_failure", test)

    def addUnexpectedSuccess(self, test):
        self.unexpectedSuccesses.append(test)
        self.say("unexpected_success", test)

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.failures.append((subtest, ""))
            failed = issubclass(error[0], test.failureException)
            self.say("failed" if failed else "errored", test, error, sub=steady(str(subtest), self.root))


class Printed:
    """What a process prints, by file descriptor, so that C code and children count too."""

    def __init__(self):
        self.memory = os.memfd_create("printed")
        os.dup2(self.memory, 1)
        os.dup2(self.memory, 2)
        self.seen = 0

    def take(self):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        size = os.fstat(self.memory).st_size
        start = max(self.seen, size - 4 * KEEP)
        self.seen = size
        return os.pread(self.memory, size - start, start).decode("utf-8", "replace")


TOOLS = (unittest.TestCase, unittest.TestResult, unittest.TestSuite, unittest.BaseTestSuite, unittest.case._Outcome,
         Recorder)
TOOL = re.compile(r"assert|fail|add[A-Z]|_?run|_call|testPart|_?test|__call__|say$|write$|start|stop")


def parts(owner):
    """What of a class or a result a candidate could bend to pass."""
    found = {}
    for name, thing in vars(owner).items():
        thing = getattr(thing, "__func__", thing)
        if callable(thing) and TOOL.match(name):
            found[name] = thing, getattr(thing, "__code__", None)
    return found


class Canary(unittest.TestCase):
    """Fails, always, unless the tools it fails with are not what they were. A
    run in which it does not is not to be believed."""

    token = ""

    def __init__(self, name, recorder):
        super().__init__(name)
        self.tools = {}
        self.watch([*TOOLS, recorder])

    def watch(self, owners):
        for owner in owners:
            self.tools.setdefault(owner, parts(owner))

    def test_canary(self):
        if all(parts(owner) == kept for owner, kept in self.tools.items()):
            self.fail(self.token)

    def id(self):
        return "fixfly.canary"


BAD = ("failed", "errored", "out_of_memory", "skipped", "expected_failure", "unexpected_success")
ENDED = {"timed_out": "timed_out", "crashed": "crashed", "out_of_memory": "out_of_memory", "exited": "exited"}


def judge(expected, events, ended, token):
    """One result for each expected test, and the outcome of the whole."""
    seen, scopes, running, canary, finished = {}, [], None, None, False
    for row in events:
        event, test = row.get("event"), row.get("id")
        if event == "finished":
            finished = True
        elif test == "fixfly.canary":
            if event == "failed":
                canary = row.get("failure", {}).get("message") == token
            elif event not in ("started", "stopped"):
                canary = False
        elif event == "started":
            running = test
            seen.setdefault(test, []).append("started")
        elif event == "stopped":
            running = None
        elif test in seen:
            seen[test].append(row)
        elif "failure" in row:
            scopes.append((scope_of(test), row))
    results = [one(test, seen.get(test), scopes, running, ended) for test in expected]
    if ended in ENDED:
        outcome = ENDED[ended]
    elif not finished:
        outcome = "exited"
    elif canary is not True and any(r["outcome"] == "passed" for r in results):
        outcome = "tampered"
    elif all(r["outcome"] == "passed" for r in results):
        outcome = "passed"
    else:
        outcome = "out_of_memory" if any(r["outcome"] == "out_of_memory" for r in results) else "failed"
    return {"outcome": outcome, "results": results}


def one(test, rows, scopes, running, ended):
    if rows is None:
        for scope, row in scopes:
            if scope is None or test.startswith(scope):
                return {"id": test, "outcome": row["event"] if row["event"] in BAD else "errored",
                        "failure": row["failure"]}
        return {"id": test, "outcome": "not_run" if ended or running else "misreported"}
    started = rows.count("started")
    rows = [row for row in rows if row != "started"]
    bad = [row for row in rows if row["event"] in BAD]
    if bad:
        first = next((row for row in bad if "failure" in row), bad[0])
        result = {"id": test, "outcome": first["event"]}
        if "failure" in first:
            result["failure"] = first["failure"]
        return result
    if test == running:
        return {"id": test, "outcome": ENDED.get(ended, "exited")}
    honest = started == 1 and [row["event"] for row in rows] == ["passed"]
    return {"id": test, "outcome": "passed" if honest else "misreported"}


def scope_of(test):
    """Which tests a failure outside any test belongs to: `setUpClass (a.B)`
    to those of a.B, a module that does not import to its own, others to all."""
    inside = re.fullmatch(r"(?:setUp|tearDown)(?:Class|Module) \((.+)\)", test or "")
    if inside:
        return inside.group(1) + "."
    failed = re.fullmatch(r"unittest\.loader\._FailedTest\.(.+)", test or "")
    return failed.group(1).rsplit(".", 1)[0] if failed and "." in failed.group(1) else None


def ending(status, killed, cpu, cpu_limit):
    """How a child ended, in one word; None where it ended in order."""
    if killed:
        return killed
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU or (number == signal.SIGKILL and cpu >= cpu_limit - 1):
            return "timed_out"
        return "out_of_memory" if number == signal.SIGKILL else "crashed"
    return None if os.WEXITSTATUS(status) == 0 else "exited"
