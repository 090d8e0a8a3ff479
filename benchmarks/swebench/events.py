"""Tells of unittest's results beside the log: a line of JSON for each.

Loaded as `sitecustomize` by the interpreter that runs the tests. Fixfly reads
the lines from a pipe of their own, so what tests and candidates print is never
taken for a result. Programs that the tests start tell nothing.
"""

import atexit
import json
import os

_FD = os.environ.pop("FIXFLY_EVENTS", None)


def _watch(fd):
    import unittest

    base = unittest.TestResult
    state = {"main": None, "failed": set(), "pid": os.getpid()}
    write, dumps, getpid = os.write, json.dumps, os.getpid

    def whole(text):
        # Half a surrogate pair, which Python's texts may hold and JSON's may not, becomes its escape as text.
        return text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text

    def tell(**event):
        if getpid() == state["pid"]:
            line = (dumps({key: whole(value) for key, value in event.items()}) + "\n").encode()
            while line:
                line = line[write(fd, line) :]

    def text(test):
        # A subtest's text holds the `repr` of its parameters, which may raise anything.
        try:
            return str(test)
        except BaseException:
            return str(getattr(test, "test_case", test).id())

    def identity(test):
        try:
            return str(test.id())
        except BaseException:
            return text(test)

    def name(result, test):
        try:
            return str(result.getDescription(test))
        except BaseException:
            return text(test)

    def wrap(method, status):
        original = getattr(base, method)

        def told(self, test, *rest):
            # A test may run tests of its own, with a result of its own.
            if state["main"] is None:
                state["main"] = self
            if self is state["main"]:
                tell(id=identity(test), text=text(test), name=name(self, test), status=status)
            return original(self, test, *rest)

        setattr(base, method, told)

    for method, status in [
        ("startTest", "started"),
        ("addSuccess", "passed"),
        ("addFailure", "failed"),
        ("addError", "error"),
        ("addSkip", "skipped"),
        ("addExpectedFailure", "expected_failure"),
        ("addUnexpectedSuccess", "unexpected_success"),
    ]:
        wrap(method, status)

    original = base.addSubTest

    def sub(self, test, subtest, err):
        if self is state["main"] and err is not None:
            failed = issubclass(err[0], test.failureException)
            status = "failed" if failed else "error"
            tell(id=test.id(), text=text(test), name=name(self, test), status=status)
        return original(self, test, subtest, err)

    base.addSubTest = sub

    class Canary(unittest.TestCase):
        def must_fail(self):
            self.assertEqual("a canary", "a dead one")

    def control():
        state["main"] = state["main"] or object()
        result = unittest.TestResult()
        Canary("must_fail").run(result)
        tell(control=len(result.failures) == 1 and not result.wasSuccessful())

    atexit.register(control)


if _FD is not None:
    os.set_inheritable(int(_FD), False)
    _watch(int(_FD))
