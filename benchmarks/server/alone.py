"""One candidate in an instance of WebAssembly made for it: loads the tests with
the project as it stands here, runs them, and tells the host what happens."""

import importlib
import io
import json
import os
import sys
import traceback

from wit_world.imports import host

import forked
import hot
import lacking
import report


class Recorder(report.Recorder):
    """Events go to the host, one by one, as data."""

    def write(self, data):
        host.tell(data.decode())


class Printed(io.TextIOWrapper):
    """What Python code prints; there is no other code that could."""

    def __init__(self):
        super().__init__(io.BytesIO(), "utf-8", "replace", write_through=True)
        sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = self

    def fileno(self):
        return 2  # where the signal handlers write that tools of testing set up

    def take(self):
        memory = self.buffer
        text = memory.getvalue()[-4 * report.KEEP:].decode("utf-8", "replace")
        memory.seek(0)
        memory.truncate()
        return text


def main():
    recorder = None
    try:
        asked = json.loads(host.input())
        printed = Printed()
        lacking.install()
        root = asked["root"].rstrip("/")
        sys.path += packages()
        suite = importlib.import_module("suite_" + asked["framework"]).Suite(root)
        forked.steady_chance()
        recorder = Recorder(None, root + "/", printed)
        recorder.candidate = root + "/" + asked["file"]
        report.Canary.token = asked["token"]
        canary = report.Canary("test_canary", recorder)
        canary.watch([Recorder, *suite.tools])
        recorder.say("begun")
    except BaseException:
        host.tell(json.dumps({"event": "broken", "why": traceback.format_exc()[-2000:]}))
        return
    try:
        swapped = asked["ready"] and takes_place(asked, root + "/" + asked["file"])
        suite.load(asked["tests"], checks=not swapped)
        if swapped:
            swap(asked, root + "/" + asked["file"])
        suite.run(asked["tests"], recorder, canary)
    except hot.Unsure as error:
        recorder.say("unsure", why=str(error))
        return
    except BaseException as error:
        recorder.end_with(error)
    recorder.say("finished")


def takes_place(asked, path):
    """Whether the candidate's module is imported, so that a method of it is to
    be swapped; else it is imported from the candidate's file, as nothing else is kept of it."""
    import runner
    runner.PROJECT.forget(path)
    return asked["module"] in sys.modules


def swap(asked, path):
    import ready_django
    hot.swap(ready_django.INDEX, path, asked["module"], asked["methods"])


def packages():
    """The folders of packages of the project's environment."""
    places = [os.path.join("/env/lib", name, "site-packages") for name in os.listdir("/env/lib")]
    return [place for place in places if os.path.isdir(place)]


main()
