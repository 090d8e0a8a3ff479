"""The test server: asked in JSON lines, answers in JSON lines.

A tree of forks. This process imports no project code. A `cold0` candidate is
forked from it and imports the project with the candidate's file in place:
exactly what a fresh process does. For `hot` candidates a child has imported the
project (base), its children have one test group set up each, and a candidate
is a fork of one of those with the code of one method swapped.

Every candidate gets a world of its own (isolate.py). Verdicts are put together
in the parent, from events (report.py).
"""

import base64
import gc
import importlib
import json
import os
import random
import resource
import secrets
import select
import sys
import time
import traceback

import isolate
import report

GROUPS = 6
FLOOD = 8 << 20
PATIENCE = 120
PATIENT = {"wall": 280, "cpu": 280}


class Line:
    """One end of a pipe pair that carries JSON lines."""

    def __init__(self, read, write):
        self.read, self.write, self.buffer = read, write, b""

    def send(self, value):
        data = json.dumps(value).encode() + b"\n"
        while data:
            data = data[os.write(self.write, data):]

    def receive(self):
        while b"\n" not in self.buffer:
            data = os.read(self.read, 1 << 16)
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)


class Zygote:
    """A child process that answers requests with `serve`."""

    def __init__(self, prepare, serve):
        down, up = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            isolate.die_with_parent()
            os.close(down[1])
            os.close(up[0])
            line = Line(down[0], up[1])
            run_zygote(line, prepare, serve)
        os.close(down[0])
        os.close(up[1])
        self.line = Line(up[0], down[1])
        self.ready = self.line.receive() or {"error": "the process ended while it was set up"}

    def ask(self, request):
        try:
            self.line.send(request)
            return self.line.receive()
        except OSError:
            return None

    def close(self):
        os.close(self.line.read)
        os.close(self.line.write)
        try:
            os.kill(self.pid, 9)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)


def run_zygote(line, prepare, serve):
    try:
        state = prepare()
        gc.collect()
        gc.freeze()
        line.send({"ready": True})
    except BaseException:
        line.send({"error": traceback.format_exc()[-4000:]})
        os._exit(1)
    while (request := line.receive()) is not None:
        line.send(serve(state, request))
    os._exit(0)


class Server:
    def __init__(self, config):
        self.root = config["root"].rstrip("/") + "/"
        self.suite = importlib.import_module("suite_" + config["framework"]).Suite(self.root.rstrip("/"))
        self.isolation = isolate.Isolation()
        self.probing = config.get("probe", False)
        self.base = None
        for name in config.get("preload", []):
            try:
                importlib.import_module(name)
            except Exception:
                continue
        gc.collect()
        gc.freeze()

    def answer(self, request):
        if request["op"] == "hello":
            return {"python": sys.version.split()[0], "isolated": self.isolation.full, "hot": self.suite.hot}
        if request["op"] == "census":
            return self.census(request)
        if request["op"] == "collect":
            return self.collect()
        if request["op"] == "preload":
            return self.preload()
        if not self.isolation.full:
            return {"error": "the kernel refuses nested namespaces, so candidates cannot be held"}
        if request["path"] == "hot" and self.suite.hot:
            answer = self.hot(request)
            if "unsure" not in answer:
                return answer
            return {**self.cold(request), "unsure": answer["unsure"]}
        return self.cold(request)

    # -- cold0 ---------------------------------------------------------------

    def cold(self, request):
        def body(recorder, canary):
            self.suite.load(request["tests"])
            self.suite.run(request["tests"], recorder, canary)

        return {"path": "cold0", **self.candidate(request, body)}

    # -- hot -----------------------------------------------------------------

    def hot(self, request):
        if self.base is None:
            self.base = Zygote(self.prepare_base, Server.serve_base)
        if "error" in self.base.ready:
            return self.drop_base(self.base.ready["error"])
        answer = self.base.ask(request)
        return answer if answer is not None else self.drop_base("the base process ended")

    def drop_base(self, why):
        self.base.close()
        self.base = None
        return {"error": why}

    def prepare_base(self):
        self.isolation = isolate.Isolation()
        self.suite.base()
        self.groups = {}
        return self

    def serve_base(self, request):
        """Splits a request by group and puts the answers together again."""
        parts = {}
        for test in request["tests"]:
            parts.setdefault(self.suite.group(test), []).append(test)
        answers = []
        for name, tests in parts.items():
            zygote = self.group(name)
            answer = {"error": zygote.ready["error"]} if "error" in zygote.ready else \
                zygote.ask({**request, "tests": tests})
            if answer is None or "error" in answer:
                self.groups.pop(name).close()
                return answer or {"error": f"the process of group {name} ended"}
            if "unsure" in answer:
                return answer
            answers.append(answer)
        return {"path": "hot", **merge(request["tests"], answers)}

    def group(self, name):
        zygote = self.groups.pop(name, None)
        if zygote is None:
            while len(self.groups) >= GROUPS:
                self.groups.pop(next(iter(self.groups))).close()
            zygote = Zygote(lambda: self.prepare_group(name), Server.serve_group)
        self.groups[name] = zygote
        return zygote

    def prepare_group(self, name):
        for other in self.groups.values():
            os.close(other.line.read)
            os.close(other.line.write)
        self.groups = {}
        self.isolation = isolate.Isolation()
        self.suite.load([name], checks=False)
        import hot
        self.index = hot.index(self.suite.source)
        return self

    def serve_group(self, request):
        import hot

        def body(recorder, canary):
            module = module_of(request["file"])
            path = self.root + request["file"]
            if module in sys.modules:
                hot.swap(self.index, path, module, request["method"])
            self.suite.run(request["tests"], recorder, canary)

        try:
            return self.candidate(request, body, unsure=hot.Unsure)
        except OSError as error:
            return {"error": f"{error}"}

    # -- census --------------------------------------------------------------

    def collect(self):
        """The tests that are there, by the part of the suite they are in."""
        def body(recorder, canary):
            self.suite.load(None)
            groups, broken = self.suite.groups()
            recorder.say("collected", groups=groups, broken=broken)

        answer = self.candidate({"limits": PATIENT}, body, keep=True)
        for row in answer["events"]:
            if row["event"] == "collected":
                return {"groups": row["groups"], "broken": row["broken"]}
        why = next((row["failure"]["traceback"].strip().splitlines()[-1] for row in answer["events"]
                    if "failure" in row), f"looking for them {answer['outcome'].replace('_', ' ')}")
        return {"groups": {}, "broken": [["", why]]}

    def census(self, request):
        """Tests with the probe in place, in one child. `files` are those under
        repair; whatever else is in the project serves its tests."""
        import probe

        tests = os.path.join(self.root, "tests") + "/" if self.suite.hot else self.root
        files = {self.root + file for file in request.get("files", [])}
        wanted = request.get("labels") or request.get("tests")

        def is_test(file):
            return file.startswith(tests) and file not in files

        def body(recorder, canary):
            probe.install(self.root, self.suite.source, is_test)
            self.suite.load(wanted)
            recorder.say("before", hits=probe.taken())
            self.suite.run(None if self.suite.hot else wanted, recorder, None)

        answer = self.candidate({**request, "file": None, "tests": []}, body, probing=probe)
        return {"events": answer["events"], "outcome": answer["outcome"], "cpu": answer["cpu"]}

    def preload(self):
        """Names of the modules outside the project that its tests import."""
        def body(recorder, canary):
            self.suite.base() if self.suite.hot else self.suite.load(None)
            recorder.say("modules", names=sorted(n for n in sys.modules if n != "__main__" and not self.is_own(n)))

        answer = self.candidate({"limits": PATIENT}, body, keep=True)
        names = next((row["names"] for row in answer["events"] if row["event"] == "modules"), [])
        if not self.suite.hot:
            from suite_pytest import plugin_modules
            avoided = plugin_modules()
            names = [name for name in names if name.split(".")[0] not in avoided]
            while (guilty := self.brings_project(names)) is not None:
                names = [name for name in names if name.split(".")[0] != guilty.split(".")[0]]
        return {"modules": names}

    def is_own(self, name):
        module = sys.modules[name]
        places = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or [])]
        return any((place or "").startswith(self.root) for place in places)

    def brings_project(self, names):
        """The first of these modules whose import imports the project, if one does."""
        def body(recorder, canary):
            for name in names:
                try:
                    importlib.import_module(name)
                except Exception:
                    continue
                if any(self.is_own(other) for other in list(sys.modules)):
                    recorder.say("guilty", name=name)
                    return

        answer = self.candidate({"limits": PATIENT}, body, keep=True)
        return next((row["name"] for row in answer["events"] if row["event"] == "guilty"), None)

    # -- one candidate -------------------------------------------------------

    def candidate(self, request, body, unsure=(), probing=None, keep=False):
        limits = {"wall": 60, "cpu": 60, "memory_mb": 2048, "processes": 128, "disk_mb": 128, "file_mb": 64,
                  **request.get("limits", {})}
        token = secrets.token_hex(16)
        read, write = os.pipe()
        started = time.monotonic()
        pid = self.isolation.fork()
        if pid == 0:
            os.close(read)
            self.child(request, body, write, limits, token, unsure, probing)
        os.close(write)
        flood = FLOOD * (64 if probing else 1)
        data, killed = collect(read, started + limits["wall"], flood)
        if killed is None and not ends(pid):
            killed = "exited"
        kill(pid)
        os.close(read)
        _, status, usage = os.wait4(pid, 0)
        cpu = usage.ru_utime + usage.ru_stime
        events = parse(data)
        broken = next((row for row in events if row["event"] in ("unsure", "broken")), None)
        if broken is not None:
            return {"unsure": broken["why"]} if broken["event"] == "unsure" else {"error": broken["why"]}
        answer = {"cpu": round(cpu, 4), "wall": round(time.monotonic() - started, 4)}
        ended = report.ending(status, killed, cpu, limits["cpu"])
        if probing or keep:
            return {**answer, "events": events, "outcome": ended or "done"}
        return {**answer, **report.judge(request["tests"], events, ended, token)}

    def child(self, request, body, write, limits, token, unsure, probing):
        recorder = None
        try:
            os.setsid()
            close_others(write)
            printed = report.Printed()
            files = covers(self.root, request)
            if self.isolation.full:
                self.isolation.enter(files, f"{limits['disk_mb']}m")
            isolate.limit(limits["memory_mb"], limits["cpu"], limits["processes"], limits["file_mb"])
            steady_chance()
            kind = report.Recorder
            if probing:
                kind = probing.Census(report.Recorder).recorder
            recorder = kind(write, self.root, None if probing else printed)
            report.Canary.token = token
        except BaseException:
            say(write, {"event": "broken", "why": traceback.format_exc()[-2000:]})
            os._exit(0)
        try:
            body(recorder, report.Canary("test_canary", recorder))
            recorder.say("finished")
        except unsure as error:
            recorder.say("unsure", why=str(error))
        except BaseException as error:
            recorder.say("errored", error=(type(error), error, None))
            recorder.say("finished")
        os._exit(0)


def merge(expected, answers):
    """One answer from those of several groups: the worst outcome, all results."""
    order = ["tampered", "timed_out", "crashed", "exited", "out_of_memory", "failed", "passed"]
    results = {row["id"]: row for answer in answers for row in answer["results"]}
    return {
        "outcome": min((answer["outcome"] for answer in answers), key=order.index),
        "results": [results[test] for test in expected],
        "cpu": round(sum(answer["cpu"] for answer in answers), 4),
        "wall": round(sum(answer["wall"] for answer in answers), 4),
    }


def collect(read, deadline, flood):
    """What the child writes until it closes its end; and why it was cut off."""
    data = []
    size = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([read], [], [], left)[0]:
            return b"".join(data), "timed_out"
        part = os.read(read, 1 << 16)
        if not part:
            return b"".join(data), None
        data.append(part)
        size += len(part)
        if size > flood:
            return b"".join(data), "exited"


def ends(pid):
    """Whether a child that says no more is about to end by itself."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        time.sleep(0.0005)
    return False


def kill(pid):
    for end in (os.killpg, os.kill):
        try:
            end(pid, 9)
        except (ProcessLookupError, PermissionError):
            pass


def parse(data):
    events = []
    for line in data.split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("event"), str):
            events.append(row)
    return events


def say(fd, row):
    os.write(fd, json.dumps(row).encode() + b"\n")


def close_others(keep):
    """Leaves the child no way to talk to the server's own pipes."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd != keep:
            try:
                os.close(fd)
            except OSError:
                pass


def covers(root, request):
    """The candidate's file, and nothing where bytecode of the original lies."""
    if not request.get("file"):
        return {}
    path = root + request["file"]
    files = {path: base64.b64decode(request["content"])}
    folder, name = os.path.split(path)
    compiled = os.path.join(folder, "__pycache__", f"{name[:-3]}.{sys.implementation.cache_tag}.pyc")
    if os.path.exists(compiled):
        files[compiled] = b""
    return files


def module_of(file):
    name = file[:-3].replace("/", ".")
    return name[: -len(".__init__")] if name.endswith(".__init__") else name


def steady_chance():
    """The same candidate must give the same bytes: chance is seeded, here only."""
    source = random.Random(0)
    os.urandom = source.randbytes
    random._urandom = source.randbytes
    random.seed(0)
    import tempfile
    names = tempfile._RandomNameSequence()
    names._rng, names._rng_pid = random.Random(0), os.getpid()
    tempfile._name_sequence = names


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    line = Line(os.dup(0), os.dup(1))
    for fd in (line.read, line.write):
        os.set_inheritable(fd, False)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    server = Server(json.loads(sys.argv[1]))
    while (request := line.receive()) is not None:
        try:
            line.send(server.answer(request))
        except Exception:
            line.send({"error": traceback.format_exc()[-4000:]})


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    main()
