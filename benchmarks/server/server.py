"""The test server: asked in JSON lines, answers in JSON lines.

A tree of forks. This process imports no project code. A `cold0` candidate is
forked from it and imports the project with the candidate's file in place:
exactly what a fresh process does. For `hot` candidates a child has imported the
project (base), its children have one test group set up each, and a candidate
is a fork of one of those with the code of one method swapped. A `shared` candidate
of the cold path starts from them, too, where that provably changes nothing (whole.py).

Every candidate gets a world of its own (isolate.py). Verdicts are put together
in the parent, from events (report.py).
"""

import base64
import gc
import importlib
import json
import os
import resource
import sys
import time
import traceback

import forked
import fresh
import isolate
import live
import report
from held import Held, Shared, opened
from watch import Watch
from zygote import Become, Line, Refused, Zygote

GROUPS = 6
OLD = 600  # seconds: what the project read of the clock when it was imported is no older
FLOOD = 8 << 20
PATIENCE = 120
PATIENT = {"wall": 280, "cpu": 280}


class Server:
    def __init__(self, config):
        self.root = config["root"].rstrip("/") + "/"
        self.suite = importlib.import_module("suite_" + config["framework"]).Suite(self.root.rstrip("/"))
        self.isolation = isolate.Isolation()
        self.probing = config.get("probe", False)
        self.held, self.said = None, b""
        fresh.MORE[:] = config.get("paths", [])
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
            return {"python": sys.version.split()[0], "isolated": self.isolation.full, "hot": True}
        if request["op"] == "census":
            return self.census(request)
        if request["op"] == "collect":
            return self.collect(request.get("files"))
        if request["op"] == "repeat":
            import repeat
            return repeat.run(self, request)
        if request["op"] == "preload":
            return self.preload()
        if not self.isolation.full:
            return {"error": "the kernel refuses nested namespaces, so candidates cannot be held"}
        if request["path"] == "hot":
            answer = self.hot(request)
            if "unsure" not in answer:
                return answer
            return {**self.cold(request), "unsure": answer["unsure"]}
        if request.get("shared") and self.suite.by_label:
            answer = self.hot(request)
            if "results" in answer:
                return {**answer, "path": "cold0", "shared": True}
            return {**self.cold(request), "unsure": answer.get("unsure", "a test group cannot be set up")}
        return self.cold(request)

    # -- cold0 ---------------------------------------------------------------

    def cold(self, request):
        def body(recorder, canary):
            self.suite.load(request["tests"])
            if request.get("reversed"):
                self.suite.turn()
            self.suite.run(request["tests"], recorder, canary)

        return {"path": "cold0", **self.candidate(request, body)}

    # -- hot -----------------------------------------------------------------

    def hot(self, request):
        if self.base is not None and self.suite.by_label and time.monotonic() - self.since > OLD:
            self.drop_base("it is old")
        if self.base is None:
            self.since = time.monotonic()
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
        self.modules = live.Modules(self.suite.source)
        if not self.suite.by_label:
            self.import_hot()  # later the server's modules are out of sight
            self.suite.base()
        else:
            self.watch = Watch(self.suite.source)
            with report.Captured() as captured, self.watch:
                self.suite.base()
            self.said = captured.text
            self.index = live.index(self.suite.source)
            self.files = self.modules.found()
            import whole
            self.whole = whole
        self.spent = time.process_time()
        self.groups = {}
        return self

    def serve_base(self, request):
        parts = {}
        for test in request["tests"]:
            parts.setdefault(self.suite.group(test), []).append(test)
        if request["path"] == "hot":
            return self.by_group(request, parts)
        # Setting up more than one group takes longer than importing what these tests need.
        if len(parts.keys() - self.groups.keys()) <= 1:
            answer = self.by_group(request, parts)
            # A failure may read differently where groups are not loaded together.
            if answer.get("outcome") == "passed":
                return answer
        try:
            request, body = self.standing_in(request, loads=True)
            return self.candidate(request, body, unsure=live.Unsure)
        except live.Unsure as error:
            return {"unsure": str(error)}
        except OSError as error:
            return {"error": f"{error}"}

    def by_group(self, request, parts):
        """Asks each group for its part and puts the answers together again."""
        answers = []
        for name, tests in parts.items():
            zygote = self.group(name, tests)
            if "unsure" in zygote.ready:
                return zygote.ready
            answer = {"error": zygote.ready["error"]} if "error" in zygote.ready else \
                zygote.ask({**request, "tests": tests})
            if answer is None or "error" in answer:
                self.groups.pop(name).close()
                return answer or {"error": f"the process of group {name} ended"}
            if "unsure" in answer:
                return answer
            if len(parts) > 1 and answer["outcome"] not in ("failed", "passed"):
                # On the cold path all groups share the process that ended.
                return {"unsure": "it ended the process before the tests of other groups"}
            answers.append(answer)
        return {"path": "hot", **merge(request["tests"], answers)}

    def group(self, name, tests):
        zygote = self.groups.pop(name, None)
        if zygote is None:
            while len(self.groups) >= GROUPS:
                self.groups.pop(next(iter(self.groups))).close()
            zygote = Zygote(lambda: self.prepare_group(name, tests), Server.serve_group)
        self.groups[name] = zygote
        return zygote

    def prepare_group(self, name, tests):
        for other in self.groups.values():
            os.close(other.line.read)
            os.close(other.line.write)
        self.groups = {}
        if self.suite.by_label:
            with report.Captured() as captured, self.watch:
                self.suite.load([name])
            self.said += captured.text
            self.watch.end()
            self.spent += time.process_time()
            self.import_hot()
            self.index = live.index(self.suite.source, self.index)
        else:
            self.collected(tests)
            self.index = live.index(self.suite.source)
        self.files = self.modules.found()
        return self

    def import_hot(self):
        import hot
        self.hot_swap = hot

    def collected(self, tests):
        """The tests' file is imported as in a fresh process, up to its first test. What
        a fork of that could not be given goes the way of a fresh process."""
        before = opened()
        try:
            isolate.own_tmp("128m")
            forked.steady_chance()
            self.suite.load(tests)
            self.held = Held(before, self.suite.descriptors())
        except Shared as error:
            raise Refused(str(error)) from None
        except BaseException as error:
            raise Refused(f"its tests cannot be collected: {report.kind_of(error)}") from None

    def serve_group(self, request):
        hot = self.hot_swap

        def body(recorder, canary):
            path = self.root + request["file"]
            names = self.files.get(path, [])
            if names or path in self.index:
                hot.swap(self.index, path, live.the_one(names), request["methods"])
            self.suite.run(request["tests"], recorder, canary)

        try:
            if request["path"] != "hot":
                request, body = self.standing_in(request)
            return self.candidate(request, body, unsure=live.Unsure)
        except live.Unsure as error:
            return {"unsure": str(error)}
        except OSError as error:
            return {"error": f"{error}"}

    # -- shared --------------------------------------------------------------

    def standing_in(self, request, loads=False):
        """What a candidate does in a fork of this process, where it provably does the same on
        the cold path; its limit counts what was done before the fork."""
        path, [method] = self.root + request["file"], request["methods"]
        names, content = self.files.get(path, []), base64.b64decode(request["content"])
        held = [self.whole.original(self.watch, path, names)]
        if held[0] is not None:
            self.whole.did_not_run(self.watch, self.index, path, content, method)

        def body(recorder, canary):
            if (old := held.pop()) is not None:
                self.whole.take_over(self.watch, self.index, old, path, names[0], content, method)
            old = None
            self.watch.end()
            if loads:
                self.suite.load(request["tests"])
            self.suite.run(request["tests"], recorder, canary)

        limits = request["limits"]
        cpu = max(limits["cpu"] - round(self.spent), 1)
        return {**request, "limits": {**limits, "cpu": cpu}}, body

    # -- census --------------------------------------------------------------

    def collect(self, files=None):
        """The tests that are there, or those of these files, by the part of the suite they are in."""
        def body(recorder, canary):
            self.suite.load(files)
            groups, broken = self.suite.groups()
            recorder.say("collected", groups=groups, broken=broken)

        answer = self.candidate({"limits": PATIENT}, body, keep=True)
        for row in answer["events"]:
            if row["event"] == "collected":
                return {"groups": row["groups"], "broken": row["broken"], "off": self.suite.off()}
        why = next((last_line(row["failure"]["traceback"]) for row in answer["events"] if "failure" in row),
                   f"looking for them {answer['outcome'].replace('_', ' ')}")
        return {"groups": {}, "broken": [["", why]], "off": []}

    def census(self, request):
        """Tests with the probe in place, in one child: `tests`, or all of `labels`
        but `skip`. `files` are those under repair; whatever else is in the
        project serves its tests."""
        import probe

        tests = os.path.join(self.root, "tests") + "/" if self.suite.by_label else self.root
        files = {self.root + file for file in request.get("files", [])}
        wanted = request.get("labels") or request.get("tests")
        skip = set(request.get("skip", []))

        def is_test(file):
            return file.startswith(tests) and file not in files

        def body(recorder, canary):
            probe.install(self.root, self.suite.source, is_test)
            self.suite.load(wanted)
            recorder.say("before", hits=probe.taken())
            self.suite.run(self.suite.counted(wanted, skip), recorder, None)

        answer = self.candidate({**request, "file": None, "tests": []}, body, probing=probe)
        return {"events": answer["events"], "outcome": answer["outcome"], "cpu": answer["cpu"]}

    def preload(self):
        """Names of the modules outside the project that its tests import."""
        def body(recorder, canary):
            self.suite.base() if self.suite.by_label else self.suite.load(None)
            recorder.say("modules", names=sorted(n for n in sys.modules if n != "__main__" and not self.is_own(n)))

        answer = self.candidate({"limits": PATIENT}, body, keep=True)
        names = next((row["names"] for row in answer["events"] if row["event"] == "modules"), [])
        if not self.suite.by_label:
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
        token = forked.URANDOM(16).hex()
        read, write = os.pipe()
        started = time.monotonic()
        pid = self.isolation.fork()
        if pid == 0:
            os.close(read)
            self.child(request, body, write, limits, token, unsure, probing)
        os.close(write)
        flood = FLOOD * (64 if probing else 1)
        data, killed = forked.collect(read, started + limits["wall"], flood, limits.get("test_wall"))
        if killed is None and not forked.ends(pid):
            killed = "exited"
        forked.kill(pid)
        os.close(read)
        _, status, usage = os.wait4(pid, 0)
        cpu = usage.ru_utime + usage.ru_stime
        events = forked.parse(data)
        refused = forked.refusal(events, bool(unsure))
        if refused is not None:
            return refused
        answer = {"cpu": round(cpu, 4), "wall": round(time.monotonic() - started, 4)}
        ended = report.ending(status, killed, cpu, limits["cpu"])
        if probing or keep:
            return {**answer, "events": events, "outcome": ended or "done"}
        return {**answer, **report.judge(request["tests"], events, ended, token)}

    def child(self, request, body, write, limits, token, unsure, probing):
        recorder = None
        try:
            os.setsid()
            forked.close_others(write, self.held.kept if self.held else ())
            printed = report.Printed(self.said)
            files = forked.covers(self.root, request)
            if self.isolation.full:
                self.isolation.enter(files, f"{limits['disk_mb']}m")
            self.held.renew() if self.held else forked.steady_chance()
            isolate.limit(limits["memory_mb"], limits["cpu"], limits["processes"], limits["file_mb"])
            kind = report.Recorder
            if probing:
                kind = probing.Census(report.Recorder).recorder
            recorder = kind(write, self.root, None if probing else printed)
            recorder.candidate = self.root + request["file"] if request.get("file") else None
            report.Canary.token = token
            canary = report.Canary("test_canary", recorder)
            canary.watch(self.suite.tools)
            recorder.say("begun")
        except BaseException:
            forked.say(write, {"event": "broken", "why": traceback.format_exc()[-2000:]})
            os._exit(0)
        try:
            body(recorder, canary)
            recorder.say("finished")
        except unsure as error:
            recorder.say("unsure", why=str(error))
        except BaseException as error:
            recorder.end_with(error)
            recorder.say("finished")
        finally:
            os._exit(0)  # whatever the candidate made of the recorder, its process ends here


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


def last_line(text):
    return (text.strip().splitlines() or ["no reason given"])[-1]


def main():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    line = Line(os.dup(0), os.dup(1))
    for fd in (line.read, line.write):
        os.set_inheritable(fd, False)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    work, parts = answer_all, (line, Server(json.loads(sys.argv[1])))
    while True:
        try:
            return work(*parts)
        except Become as child:
            work, parts = child.work


def answer_all(line, server):
    while (request := line.receive()) is not None:
        try:
            line.send(server.answer(request))
        except Exception:
            line.send({"error": traceback.format_exc()[-4000:]})

