"""Any project whose tests pytest runs.

The steps of `pytest.main` one by one, as what is collected must be known
before it runs. All settings of the project count but `addopts`, of which only
what decides how tests are imported is kept: the rest is about reports.
"""

import configparser
import importlib.metadata
import os
import re
import shlex
import tomllib

import fresh

FLAGS = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cov",
         "-o", "addopts=", "--tb=no", "--no-header", "--no-summary", "--disable-warnings",
         "--continue-on-collection-errors"]
KEPT = re.compile(r"--import-mode(=|$)|--pyargs$|-p$|-p(?!no:)\w")


class Named:
    """A pytest item as the recorder wants it."""

    failureException = AssertionError

    def __init__(self, name):
        self.name = name

    def id(self):
        return self.name


class Said:
    """What a test printed, as pytest caught it."""

    def __init__(self, report):
        self.text = "".join(getattr(report, name, None) or "" for name in ("capstdout", "capstderr"))

    def take(self):
        text, self.text = self.text, ""
        return text


class Plugin:
    """Reports each test's phases to the recorder as one test."""

    recorder = None

    def __init__(self):
        self.broken = []

    def pytest_runtest_logstart(self, nodeid, location):
        self.bad = False
        self.recorder.startTest(Named(nodeid))

    def pytest_exception_interact(self, node, call, report):
        error = call.excinfo.value
        if getattr(report, "when", None) not in ("setup", "call", "teardown"):
            self.broken.append((node.nodeid, error))
            return
        self.bad = True
        if self.recorder.printed:
            self.recorder.printed = Said(report)
        add = self.recorder.addFailure if isinstance(error, AssertionError) else self.recorder.addError
        add(Named(node.nodeid), (type(error), error, None))

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


class Suite:
    hot = False

    def __init__(self, root):
        self.root = root.rstrip("/")
        self.source = self.root + "/"

    def load(self, tests, checks=True):
        """Collects the files of these tests, or all that there are."""
        fresh.begin(self.root, "pytest")
        import pytest
        from _pytest.config import _prepareconfig
        from _pytest.main import Session
        os.environ["PYTEST_VERSION"] = pytest.__version__
        files = sorted({test.split("::", 1)[0] for test in tests or []})
        self.plugin = Plugin()
        config = _prepareconfig([*FLAGS, *kept_options(self.root), f"--rootdir={self.root}", *files], [self.plugin])
        config._do_configure()
        self.session = Session.from_config(config)
        config.hook.pytest_sessionstart(session=self.session)
        config.hook.pytest_collection(session=self.session)

    def groups(self):
        """The tests that are there, by file; and why others are not."""
        groups = {}
        for item in self.session.items:
            file = item.nodeid.split("::", 1)[0]
            groups.setdefault(file, {"file": file, "tests": []})["tests"].append(item.nodeid)
        return groups, [[name, last_line(error)] for name, error in self.plugin.broken]

    def run(self, tests, recorder, canary):
        self.plugin.recorder = recorder
        for name, error in self.plugin.broken:
            recorder.addError(Named(f"unittest.loader._FailedTest.{name}"), (type(error), error, None))
        if tests is not None:
            wanted = set(tests)
            self.session.items = [item for item in self.session.items if item.nodeid in wanted]
        self.session.testscollected = len(self.session.items)
        if self.session.items:
            self.session.config.hook.pytest_runtestloop(session=self.session)
        if canary is not None:
            canary.run(recorder)


def last_line(error):
    cause = error.__cause__ or error
    said = str(cause).strip().splitlines() or [""]
    return f"{type(cause).__name__}: {said[-1]}"


def kept_options(root):
    """What the project's `addopts` says of how tests are imported."""
    words, kept = addopts(root), []
    for at, word in enumerate(words):
        if KEPT.match(word) and not (word == "-p" and words[at + 1:at + 2][:1] and words[at + 1].startswith("no:")):
            kept += words[at:at + 2] if word in ("-p", "--import-mode") else [word]
    return kept


def addopts(root):
    for name, section in (("pytest.ini", "pytest"), (".pytest.ini", "pytest"), ("pyproject.toml", None),
                          ("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")):
        path = os.path.join(root, name)
        try:
            if section is None:
                with open(path, "rb") as file:
                    tool = tomllib.load(file).get("tool", {}).get("pytest", {})
                said = tool.get("ini_options", tool).get("addopts")
            else:
                parser = configparser.RawConfigParser()
                parser.read(path)
                said = parser.get(section, "addopts", fallback=None)
        except (OSError, tomllib.TOMLDecodeError, configparser.Error):
            continue
        if said is not None:
            return said if isinstance(said, list) else shlex.split(said)
    return []


def plugin_modules():
    """Modules that pytest itself must be the first to import."""
    return {entry.value.split(":")[0].split(".")[0] for entry in importlib.metadata.entry_points(group="pytest11")}
