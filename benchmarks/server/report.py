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


def text_of(make, most=KEEP):
    """A text that the project's or the candidate's code makes, whatever that code does."""
    try:
        return clip("".join((make(),)), most)  # `join` makes a plain `str` of a subclass's
    except BaseException as broken:
        return f"<its text raised {kind_of(broken)}>"


def kind_of(error):
    # Read from `type` itself: a class may say anything of its own name.
    module, name = (type.__dict__[part].__get__(type(error)) for part in ("__module__", "__qualname__"))
    name = clip("".join((name,)), 200)
    if not isinstance(module, str) or module in ("builtins", "unittest.case"):
        return name
    return f"{clip(''.join((module,)), 200)}.{name}"


def part_of(error, name):
    """An attribute that every exception has, past what its class says."""
    return getattr(BaseException, name).__get__(error)


def frames_of(error, root):
    """The frames a developer would read: tests and project, and a library's
    last frame where the error is raised there. Never the harness."""
    frames = [f for f in traceback.extract_tb(part_of(error, "__traceback__"))]
    ours = [f for f in frames if f.filename.startswith(root) and "/django/test/" not in f.filename]
    last = frames[-1:] if frames and frames[-1] not in ours else []
    last = [f for f in last if not any(h in f.filename for h in HARNESS) and not f.filename.startswith(HERE)
            and "/django/test/" not in f.filename]
    return ours + last


CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"
LINKS, PARTS, DEPTH = 4, 5, 3


def chain(error):
    """The error and those before it, first to last, each with the words that join it to the one before."""
    links, seen = [], set()
    while error is not None and len(links) < LINKS and id(error) not in seen:
        seen.add(id(error))
        cause, context = part_of(error, "__cause__"), part_of(error, "__context__")
        before = cause if cause is not None else None if part_of(error, "__suppress_context__") else context
        links.append((error, None if before is None else CAUSE if cause is not None else CONTEXT))
        error = before
    links.reverse()
    return [(links[0][0], None), *links[1:]]


def story(error, root, message=None, depth=0):
    """An error as Python prints it, with the frames that `frames_of` chooses."""
    parts = []
    for one, joint in chain(error):
        parts += [joint] if joint else []
        if depth == 0 or part_of(one, "__traceback__") is not None:
            parts.append("Traceback (most recent call last):\n")
        try:
            parts += traceback.format_list(frames_of(one, root))
        except BaseException as broken:
            parts.append(f"  <its frames raised {kind_of(broken)}>\n")
        parts += last_lines(one) if message is None or one is not error else [f"{kind_of(one)}: {message}\n"]
        if isinstance(one, BaseExceptionGroup) and depth < DEPTH:
            parts += inside(one, root, depth + 1)
    return parts


def last_lines(error):
    try:
        return [clip("".join((line,))) for line in traceback.format_exception_only(type(error), error)]
    except BaseException as broken:
        return [f"{kind_of(error)}: <its text raised {kind_of(broken)}>\n"]


def inside(group, root, depth):
    """The exceptions of a group, indented."""
    lines, all_parts = [], BaseExceptionGroup.exceptions.__get__(group)
    for number, part in enumerate(all_parts[:PARTS], 1):
        lines.append(f"  +---------------- {number} ----------------\n")
        lines += [f"  | {line}\n" for line in "".join(story(part, root, depth=depth)).split("\n")[:-1]]
    left = len(all_parts) - PARTS
    return lines + ([f"  +---------------- and {left} more\n"] if left > 0 else [])


def describe(error, root, message=None):
    """A failure as data; `message` stands for the error's own text where that says nothing."""
    lines = story(error, root, message)
    message = text_of(lambda: str(error), 16 * KEEP) if message is None else message
    return {
        "exception": kind_of(error),
        "message": clip(steady(message, root)),
        "traceback": clip(steady("".join(lines), root), 2 * KEEP),
    }


class Recorder(unittest.TestResult):
    """Writes each event down at once, so that what was done before a crash stays."""

    candidate = None  # the path of the candidate's file

    def __init__(self, out, root, printed=None, probe=None):
        super().__init__()
        self.out, self.root, self.printed, self.probe = out, root, printed, probe
        self.silent, self.partly, self.described = None, False, set()

    def say(self, event, test=None, error=None, printed=None, message=None, **more):
        row = {"event": event, **more}
        if test is not None:
            row["id"] = getattr(test, "test_case", test).id()  # of a subtest, the test
            if event not in ("started", "stopped", "census"):
                self.silent = None
        if error is not None and isinstance(error[1], MemoryError):
            row["event"] = "out_of_memory"
        # Only a test's first failure is read; a thousand failing subtests must not flood the line.
        if error is not None and (test is None or row["id"] not in self.described):
            self.described.add(row.get("id"))
            row["failure"] = describe(error[1], self.root, message)
            text = printed if printed is not None else self.printed.take() if self.printed else ""
            if text:
                row["failure"]["output"] = clip(steady(clip(text, 16 * KEEP), self.root))
        self.write((json.dumps(row) + "\n").encode())

    def write(self, data):
        while data:
            data = data[os.write(self.out, data):]

    def startTest(self, test):
        super().startTest(test)
        if self.printed:
            self.printed.take()
        self.silent, self.partly = test, False
        self.say("started", test)

    def stopTest(self, test):
        super().stopTest(test)
        # unittest says nothing of a test of which subtests were skipped and nothing failed.
        if self.partly and self.silent is not None and sys.exc_info()[1] is None:
            self.say("skipped" if expects_failure(test) else "passed", test)
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
        # A subtest that skips leaves its test as it is, unless the candidate made it skip.
        if hasattr(test, "test_case") and not self.is_by_candidate(sys.exc_info()[1]):
            self.partly = True
        else:
            self.say("skipped", test, reason=text_of(lambda: str(reason)))

    def addExpectedFailure(self, test, error):
        self.say("expected_failure", test)

    def addUnexpectedSuccess(self, test):
        self.unexpectedSuccesses.append(test)
        self.say("unexpected_success", test)

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.failures.append((subtest, ""))
            failed = issubclass(error[0], test.failureException)
            self.say("failed" if failed else "errored", test, error,
                     sub=steady(text_of(lambda: str(subtest)), self.root))

    def is_by_candidate(self, error):
        """Whether an exception came through the candidate's file."""
        trace = part_of(error, "__traceback__") if error is not None else None
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self.candidate:
                return True
            trace = trace.tb_next
        return False

    def end_with(self, error):
        """An exception ended the run, and with it the test that ran."""
        failure = (type(error), error, None)
        if self.silent is not None:
            self.say("errored", self.silent, failure)
            self.say("interrupted")
        else:
            self.say("errored", error=failure)


def expects_failure(test):
    method = getattr(test, getattr(test, "_testMethodName", ""), None)
    return any(getattr(thing, "__unittest_expecting_failure__", False) for thing in (test, method))


def printed(memory, seen=0):
    """How much is there, and what was printed since, or the end of that."""
    size = os.fstat(memory).st_size
    start = max(seen, size - 4 * KEEP)
    return size, os.pread(memory, size - start, start)


class Printed:
    """What a process prints, by file descriptor, so that C code and children count too."""

    def __init__(self, said=b""):
        """`said`: what was printed before, in the process that this is a fork of."""
        self.memory = os.memfd_create("printed")
        os.dup2(self.memory, 1)
        os.dup2(self.memory, 2)
        os.write(1, said)
        self.seen = 0

    def take(self):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        self.seen, text = printed(self.memory, self.seen)
        return text.decode("utf-8", "replace")


class Captured:
    """What is printed meanwhile. What Python itself still holds back stays held back."""

    def __enter__(self):
        self.before = os.dup(1), os.dup(2)
        self.memory = os.memfd_create("captured")
        for fd in (1, 2):
            os.dup2(self.memory, fd)
        return self

    def __exit__(self, *error):
        _, self.text = printed(self.memory)
        for fd, old in zip((1, 2), self.before):
            os.dup2(old, fd)
            os.close(old)
        os.close(self.memory)


TOOLS = (unittest.TestCase, unittest.TestResult, unittest.TestSuite, unittest.BaseTestSuite, unittest.case._Outcome,
         Recorder)
TOOL = re.compile(
    r"assert|fail|add[A-Z]|_?run|_call|testPart|_?test|__call__|say$|write$|start|stop|end_with$|is_by|skip|pytest_")


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
    seen, scopes, late, running, last, canary = {}, [], {}, None, None, None
    finished = interrupted = False
    for row in events:
        event, test = row.get("event"), row.get("id")
        if event == "finished":
            finished = True
        elif event == "interrupted":
            interrupted = True
        elif test == "fixfly.canary":
            if event == "failed":
                canary = row.get("failure", {}).get("message") == token
            elif event not in ("started", "stopped"):
                canary = False
        elif event == "started":
            running = last = test
            seen.setdefault(test, []).append("started")
        elif event == "stopped":
            running = None
        elif test in seen:
            seen[test].append(row)
        elif "failure" in row or (event == "skipped" and scope_of(test)):
            scope = row.get("scope", scope_of(test))
            scopes.append((scope, row))
            if event != "skipped" and last and str(test).startswith("tearDown") and is_within(last, scope):
                late.setdefault(last, row)
    cut = ended or interrupted or not finished or running
    results = [one(test, seen.get(test), scopes, running, ended, cut) for test in expected]
    for result in results:
        # What is torn down after a test that passed belongs to it, as with pytest.
        if result["outcome"] == "passed" and result["id"] in late:
            result.update(outcome="errored", failure=late[result["id"]]["failure"])
    if ended in ENDED:
        outcome = ENDED[ended]
    elif not finished:
        outcome = "exited"
    elif canary is not True and any(r["outcome"] == "passed" for r in results):
        outcome = "failed" if interrupted and canary is None else "tampered"
    elif all(r["outcome"] == "passed" for r in results):
        outcome = "passed"
    else:
        outcome = "out_of_memory" if any(r["outcome"] == "out_of_memory" for r in results) else "failed"
    return {"outcome": outcome, "results": results}


def one(test, rows, scopes, running, ended, cut):
    if rows is None:
        for scope, row in scopes:
            if is_within(test, scope):
                failure = {"failure": row["failure"]} if "failure" in row else {}
                return {"id": test, "outcome": row["event"] if row["event"] in BAD else "errored", **failure}
        return {"id": test, "outcome": "not_run" if cut else "misreported"}
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


def is_within(test, scope):
    """Whether a failure outside any test is of this one: `scope` is a prefix of
    unittest's names, a file, folder or class of pytest's, or None for all."""
    if scope is None or scope.endswith("."):
        return scope is None or test.startswith(scope)
    return test == scope or (test.startswith(scope) and test[len(scope)] in ".:/[")


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
