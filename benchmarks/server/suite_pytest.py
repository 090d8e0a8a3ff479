"""Any project whose tests pytest runs."""

import os
import sys

FLAGS = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cov",
         "-o", "addopts=", "--tb=no", "--no-header", "--no-summary", "--disable-warnings"]


class Named:
    """A pytest item as the recorder wants it."""

    failureException = AssertionError

    def __init__(self, name):
        self.name = name

    def id(self):
        return self.name


class Plugin:
    """Reports each test's phases to the recorder as one test."""

    def __init__(self, recorder, canary):
        self.recorder, self.canary, self.collected = recorder, canary, []

    def pytest_collection_modifyitems(self, items):
        self.collected = [item.nodeid for item in items]

    def pytest_runtest_logstart(self, nodeid, location):
        self.bad = False
        self.recorder.startTest(Named(nodeid))

    def pytest_exception_interact(self, node, call, report):
        error = call.excinfo.value
        test = Named(getattr(node, "nodeid", ""))
        if getattr(report, "when", None) is None:
            self.recorder.addError(Named(f"unittest.loader._FailedTest.{node.nodeid}"), (type(error), error, None))
            return
        self.bad = True
        add = self.recorder.addFailure if isinstance(error, AssertionError) else self.recorder.addError
        add(test, (type(error), error, None))

    def pytest_runtest_logreport(self, report):
        test = Named(report.nodeid)
        if hasattr(report, "wasxfail"):
            if report.when == "call" or report.skipped:
                self.bad = True
                self.recorder.addExpectedFailure(test, None) if report.skipped else \
                    self.recorder.addUnexpectedSuccess(test)
        elif report.skipped:
            self.bad = True
            self.recorder.addSkip(test, str(report.longrepr))
        elif report.failed and not self.bad:
            self.bad = True
            error = AssertionError(str(report.longrepr))
            self.recorder.addError(test, (type(error), error, None))

    def pytest_runtest_logfinish(self, nodeid, location):
        if not self.bad:
            self.recorder.addSuccess(Named(nodeid))
        self.recorder.stopTest(Named(nodeid))

    def pytest_sessionfinish(self, session):
        if self.canary is not None:
            self.canary.run(self.recorder)


class Suite:
    hot = False

    def __init__(self, root):
        self.root = self.source = root.rstrip("/") + "/"

    def group(self, test):
        return test.split("::", 1)[0]

    def boot(self):
        os.chdir(self.root)
        extra = os.path.join(self.root, "src")
        sys.path[:0] = [self.root] + ([extra] if os.path.isdir(extra) else [])

    def load(self, tests, checks=True):
        self.boot()

    def run(self, tests, recorder, canary):
        import pytest
        plugin = Plugin(recorder, canary)
        self.plugin = plugin
        pytest.main([*FLAGS, f"--rootdir={self.root}", *(tests or [])], plugins=[plugin])

    def census_tests(self):
        return self.plugin.collected
