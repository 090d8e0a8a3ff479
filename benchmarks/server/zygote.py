"""Child processes that answer requests over a pair of pipes."""

import gc
import json
import os
import traceback

import forked
import isolate


class Line:
    """One end of a pipe pair that carries JSON lines."""

    def __init__(self, read, write):
        self.read, self.write, self.buffer = read, write, b""

    def send(self, value):
        data = forked.written(value).encode() + b"\n"
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


class Refused(Exception):
    """Why candidates cannot be forked from a process: they take the cold path."""


class Become(BaseException):
    """Raised in a new child, which leaves the calls of its parent with it: recursion must
    end as deep in a candidate of any process as in one of the first."""

    def __init__(self, line, prepare, serve):
        self.work = run_zygote, (line, prepare, serve)


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
            raise Become(line, prepare, serve)
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
    except Refused as error:
        line.send({"unsure": str(error)})
        os._exit(1)
    except BaseException:
        line.send({"error": traceback.format_exc()[-4000:]})
        os._exit(1)
    answer_all(line, state, serve)
    os._exit(0)


def answer_all(line, state, serve):
    while (request := line.receive()) is not None:
        line.send(serve(state, request))
