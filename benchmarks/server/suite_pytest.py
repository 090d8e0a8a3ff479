"""Any project whose tests pytest runs.

The steps of `pytest.main` one by one, as what is collected must be known
before it runs. All settings of the project count; of its `addopts` those that
decide which tests there are and what they do: the rest is about reports.
"""

import configparser
import importlib.metadata
import os
import re
import shlex
import tempfile
import tomllib

import fresh
import report as reports

# Plug-ins that would change a test's result from run to run. Others stay on:
# without their options, xdist and cov do nothing but lend fixtures and markers.
OFF = ["randomly"]
FLAGS = [*(word for name in OFF for word in ("-p", f"no:{name}")), "-q", "-o", "addopts=", "--tb=no", "--color=no",
         "--no-header", "--no-summary", "--disable-warnings", "--continue-on-collection-errors",
         # What a plug-in would have rewritten is imported before pytest begins; with
         # `filterwarnings = error` that would be the end.
         "-W", "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning"]
# Options of `addopts` that count: about imports, with a value, and without one.
IMPORTS = re.compile(r"--import-mode$|--pyargs$|-p$")
VALUED = re.compile(
    r"--import-mode$|-p$|-[mkWo]$|--override-ini$|--pythonwarnings$|--asyncio-mode$|--anyio-mode$|--reruns(-delay)?$|"
    r"--only-rerun$|--rerun-except$|--max-runs$|--min-passes$|--d[sc]$|--timeout(-method)?$|--deselect$|"
    r"--ignore(-glob)?$|--assert$|--confcutdir$|--hypothesis-(profile|seed)$|--allow-hosts$")
ALONE = re.compile(
    r"--pyargs$|--strict(-markers|-config)?$|--runxfail$|--no-?migrations$|--fail-on-flaky$|--force-flaky$|"
    r"--disable-socket$|--allow-unix-socket$|--force-enable-socket$|--noconftest$")
NEEDED = re.compile(r"no:(terminal|capture|runner|main|python|reports)$")


def outermost(hook):
    """Marks a hook that runs around all others, as `pytest.hookimpl` does."""
    hook.pytest_impl = {"hookwrapper": True, "tryfirst": True}
    return hook


class Named:
    """A pytest item as the recorder wants it."""

    failureException = AssertionError

    def __init__(self, name):
        self.name = name

    def id(self):
        return self.name


class Plugin:
    """Tells the recorder what pytest says of each test, once: its last attempt counts."""

    recorder = None

    def __init__(self, report_class):
        self.report_class, self.broken = report_class, []
        self.test, self.interrupted = None, False

    @outermost
    def pytest_runtest_protocol(self, item, nextitem):
        # Around the whole protocol, as plug-ins that run a test again do so within it.
        self.test, self.errors, self.parts = Named(item.nodeid), {}, []
        self.passed = self.bad = False
        self.recorder.startTest(self.test)
        ended = yield
        if ended.excinfo is not None:  # an interrupt, or `pytest.exit`
            self.interrupted = True
            self.recorder.end_with(ended.excinfo[1])
        elif self.passed and not self.bad:
            self.recorder.addSuccess(self.test)
        self.recorder.stopTest(self.test)
        self.test = None

    @outermost
    def pytest_runtest_makereport(self, item, call):
        made = yield
        self.errors[call.when] = call.excinfo
        if made.excinfo is not None and call.excinfo is not None:
            # An exception that is so made that pytest cannot describe it is a failure all the same.
            said = f"<its text raised {reports.kind_of(made.excinfo[1])}>"
            made.force_result(self.report_class(item.nodeid, item.location, {}, "failed", said, call.when))

    def pytest_runtest_logreport(self, report):
        if self.test is None or report.nodeid != self.test.name:
            return
        if type(report).__name__.lower() == "subtestreport":
            self.parts.append((report, self.errors.get(report.when)))
        elif report.outcome == "rerun":
            self.parts, self.passed = [], False
        else:
            # Where a test may run again, its subtests are told of before its setup.
            if report.when != "setup":
                self.test_parts()
            self.test_phase(report)

    def test_parts(self):
        """Subtests: one that fails fails the test; one that skips does not, unless the candidate made it skip."""
        parts, self.parts = self.parts, []
        for report, info in parts:
            if report.failed:
                self.fail_with("failed", report, info)
            elif report.skipped and info is not None and self.recorder.is_by_candidate(info.value):
                self.skip_with(report)

    def test_phase(self, report):
        if report.skipped:
            self.skip_with(report)
        elif hasattr(report, "wasxfail") and not report.failed:
            if report.when == "call":
                self.bad = True
                self.recorder.addUnexpectedSuccess(self.test)
        elif report.failed:
            info = self.errors.get(report.when)
            if info is not None or not self.bad:  # else it only counts subtests that failed
                self.fail_with("failed" if report.when == "call" else "errored", report, info)
        elif report.when == "call":
            self.passed = True

    def skip_with(self, report):
        self.bad = True
        if hasattr(report, "wasxfail"):
            self.recorder.addExpectedFailure(self.test, None)
        else:
            self.recorder.addSkip(self.test, report.longrepr)

    def fail_with(self, event, report, info):
        self.bad = True
        if info is not None:
            error = (type(info.value), info.value, None)
            self.recorder.say(event, self.test, error, printed=printed(report), message=lookup(report))
            return
        # pytest's own word, as for a strict xfail that passes.
        said = reports.clip(reports.steady(reports.text_of(lambda: str(report.longrepr)), self.recorder.root))
        failure = {"exception": "Failed", "message": said, "traceback": f"Failed: {said}\n"}
        if text := printed(report):
            failure["output"] = reports.clip(reports.steady(text, self.recorder.root))
        self.recorder.say(event, self.test, failure=failure)

    def pytest_exception_interact(self, node, call, report):
        if getattr(report, "when", None) not in ("setup", "call", "teardown"):
            self.broken.append((node.nodeid, real(call.excinfo.value), printed(report)))


def printed(report):
    """What a test printed and logged, as pytest caught it."""
    parts = []
    for name, text in getattr(report, "sections", []):
        if name.startswith("Captured") and text:
            text = re.sub(r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?", "_", text) if " log " in name else text
            parts.append(text if text.endswith("\n") else text + "\n")
    return "".join(parts)


def lookup(report):
    """What pytest says of a fixture that it does not find; the exception itself says nothing."""
    said = getattr(report.longrepr, "errorstring", None)
    return reports.clip(said.strip()) if isinstance(said, str) else None


def real(error):
    """The project's own error behind the one that pytest makes of it when it collects."""
    if type(error).__name__ in ("CollectError", "ConftestImportFailure"):
        return reports.part_of(error, "__cause__") or error
    return error


class Suite:
    by_label = False
    tools = (Plugin, Named)

    def __init__(self, root):
        self.root = root.rstrip("/")
        self.source = self.root + "/"

    def group(self, test):
        """The file of a test."""
        return test.split("::", 1)[0]

    def base(self):
        """What every group needs: nothing but the modules imported already."""

    def load(self, tests, checks=True):
        """Collects the files of these tests, or all that there are."""
        fresh.begin(self.root, "pytest")
        import pytest
        from _pytest.main import Session
        os.environ["PYTEST_VERSION"] = pytest.__version__
        self.plugin = Plugin(pytest.TestReport)
        config = self.configured(sorted({self.group(test) for test in tests or []}))
        if not hasattr(pytest.Config, "VERBOSITY_ASSERTIONS"):
            config.option.verbose = 2  # else pytest cuts what an assertion says
        config._do_configure()
        silence(config.pluginmanager.getplugin("terminalreporter"))
        self.session = Session.from_config(config)
        config.hook.pytest_sessionstart(session=self.session)
        config.hook.pytest_collection(session=self.session)

    def configured(self, files):
        """pytest's configuration, with the options of the project that it takes."""
        import pytest
        from _pytest.config import ConftestImportFailure, _prepareconfig
        flags = [*FLAGS, "-o", f"cache_dir={os.path.join(tempfile.gettempdir(), '.pytest_cache')}"]
        if hasattr(pytest.Config, "VERBOSITY_ASSERTIONS"):
            flags += ["-o", "verbosity_assertions=2"]
        failure = None
        for kept in (kept_options(self.root), kept_options(self.root, imports=True)):
            try:
                return _prepareconfig([*kept, *flags, f"--rootdir={self.root}", *files], [self.plugin])
            except pytest.UsageError as error:
                # An option of a plug-in that is not installed must not cost all tests.
                failure = failure or error
            except ConftestImportFailure as error:
                failure = real(error)
                break
        raise failure

    def groups(self):
        """The tests that are there, by file; and why others are not."""
        groups = {}
        for item in self.session.items:
            file = item.nodeid.split("::", 1)[0]
            groups.setdefault(file, {"file": file, "tests": []})["tests"].append(item.nodeid)
        return groups, [[name, last_line(error)] for name, error, _ in self.plugin.broken]

    def counted(self, tests, skip):
        """What the census of these tests runs: they and, where an id is not found
        again, those of the same function, which may have changed their ids."""
        there = [item.nodeid for item in self.session.items]
        known = set(tests)
        lost = {function_of(test) for test in known.difference(there)}
        return [test for test in there if test in known or function_of(test) in lost]

    def descriptors(self):
        """The descriptors that pytest holds: what each copies, or None for a file to write to."""
        plugins, found = self.session.config.pluginmanager, {}
        capture = getattr(plugins.getplugin("capturemanager"), "_global_capturing", None)
        for target, name in ((1, "out"), (2, "err")):
            stream = getattr(capture, name, None)
            if hasattr(stream, "targetfd_save"):
                found[stream.targetfd_save] = target
                found[stream.tmpfile.fileno()] = None
        key = getattr(plugins.getplugin("faulthandler"), "fault_handler_stderr_fd_key", None)
        if key is not None and key in self.session.config.stash:
            found[self.session.config.stash[key]] = 2
        return found

    def turn(self):
        """Lets the tests run in the reverse order."""
        self.session.items.reverse()

    def off(self):
        """Plug-ins of the framework that are installed and turned off."""
        there = {entry.name for entry in importlib.metadata.entry_points(group="pytest11")}
        return [name for name in OFF if name in there]

    def run(self, tests, recorder, canary):
        self.plugin.recorder = recorder
        for name, error, text in self.plugin.broken:
            recorder.say("errored", error=(type(error), error, None), printed=text, scope=scope(name))
        if tests is not None:
            wanted = set(tests)
            self.session.items = [item for item in self.session.items if item.nodeid in wanted]
        self.session.testscollected = len(self.session.items)
        if self.session.items:
            self.run_loop(recorder)
        if canary is not None:
            canary.run(recorder)

    def run_loop(self, recorder):
        try:
            self.session.config.hook.pytest_runtestloop(session=self.session)
        except BaseException as error:
            if not self.plugin.interrupted:  # else the running test has it
                recorder.silent = None
                recorder.end_with(error)


def silence(terminal):
    """Keeps pytest's own words out of what its tests print."""
    writer = getattr(terminal, "_tw", None)
    if hasattr(writer, "_file"):
        writer._file = open(os.devnull, "w", encoding="utf-8", errors="replace")


def scope(nodeid):
    """Which tests a collector that fails would have held; None for all."""
    name = nodeid.removesuffix("/__init__.py").removesuffix("/")
    return name if name not in ("", ".", "__init__.py") else None


def function_of(test):
    return test.partition("[")[0]


def last_line(error):
    said = reports.text_of(lambda: str(error)).strip().splitlines() or [""]
    return f"{reports.kind_of(error)}: {said[-1]}"


def kept_options(root, imports=False):
    """What the project's `addopts` says of which tests there are and what they
    do; with `imports` only how they are imported."""
    words, kept, at = addopts(root), [], 0
    while at < len(words):
        word, at = words[at], at + 1
        name, joined, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
        if not VALUED.match(name):
            taken = [word] if ALONE.match(word) else []
        elif joined:
            taken = [word]
        else:
            value = words[at] if at < len(words) else ""
            taken, at = [word, value], at + 1
        unwanted = name == "-p" and (NEEDED.match(value) or imports and value.startswith("no:"))
        if taken and not unwanted and (IMPORTS.match(name) or not imports):
            kept += taken
    return kept


def addopts(root):
    for name, section in (("pytest.toml", ()), (".pytest.toml", ()), ("pytest.ini", "pytest"),
                          (".pytest.ini", "pytest"), ("pyproject.toml", ("tool",)), ("tox.ini", "pytest"),
                          ("setup.cfg", "tool:pytest")):
        path = os.path.join(root, name)
        try:
            if isinstance(section, tuple):
                with open(path, "rb") as file:
                    table = tomllib.load(file)
                for part in section:
                    table = table.get(part, {})
                table = table.get("pytest", {})
                said = table.get("ini_options", table).get("addopts")
            else:
                parser = configparser.RawConfigParser()
                parser.read(path)
                said = parser.get(section, "addopts", fallback=None)
        except (OSError, ValueError, AttributeError, configparser.Error):
            continue
        if said is not None:
            return said if isinstance(said, list) else shlex.split(said)
    return []


def plugin_modules():
    """Modules that pytest itself must be the first to import."""
    return {entry.value.split(":")[0].split(".")[0] for entry in importlib.metadata.entry_points(group="pytest11")}
