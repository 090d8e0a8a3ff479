"""Runs tests of the unchanged project again: in order, in reverse, each alone.

A batch is a fork of one process that has collected the tests and run none, so
no batch sees what another one left in memory or in /tmp.
"""

import os
import shutil
import time

import forked
import report


def run(server, request):
    """What each batch came to; None where it did not take place."""
    batches, clock = request["batches"], request.get("clock")

    def body(recorder, canary):
        if clock is not None:
            import fake_clock
            fake_clock.install(clock)
        server.suite.load(sorted({test for batch in batches for test in batch["tests"]}))
        before = left_behind() if server.isolation.full else None
        for number, batch in enumerate(batches):
            recorder.say("batch", number=number)
            fork(server.suite, batch, recorder)
            if before is not None:
                clean(before)

    answer = server.candidate({**request, "file": None, "tests": []}, body, keep=True)
    if "error" in answer:
        return answer
    found, rows = [None] * len(batches), []
    for row in answer["events"]:
        number = row.get("number")
        if row["event"] == "batch" and isinstance(number, int) and 0 <= number < len(batches):
            rows = []
            found[number] = rows
        else:
            rows.append(row)
    return {"batches": [None if rows is None else came_to(batch["tests"], rows) for batch, rows in zip(batches, found)]}


def fork(suite, batch, recorder):
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            if batch["order"] == "reversed":
                suite.turn()
            suite.run(batch["tests"], recorder, None)
        except BaseException as error:
            recorder.end_with(error)
        finally:
            os._exit(0)
    end = time.monotonic() + batch["wall"]
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None and time.monotonic() < end:
        time.sleep(0.002)
    forked.kill(pid)
    os.waitpid(pid, 0)


def left_behind():
    return {os.path.join(folder, name) for folder in ("/tmp", "/dev/shm") for name in os.listdir(folder)}


def clean(before):
    for path in left_behind() - before:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            try:
                os.unlink(path)
            except OSError:
                pass


def came_to(tests, rows):
    """`bad`: the tests that did not pass, each with the end of its failure; `left`: those that did not start."""
    named = {event: {row.get("id") for row in rows if row["event"] == event} for event in ("started", "passed")}
    failures = {}
    for row in rows:
        if row["event"] in report.BAD:
            failures.setdefault(row.get("id"), row)
    wrong = [test for test in tests if test in failures or test in named["started"] - named["passed"]]
    return {"bad": {test: said(failures.get(test)) for test in wrong},
            "left": [test for test in tests if test not in named["started"] and test not in failures]}


def said(row):
    if row is None:
        return "it did not end"
    failure = row.get("failure")
    return report.clip(failure.get("traceback", ""), 600) if failure else row["event"].replace("_", " ")
