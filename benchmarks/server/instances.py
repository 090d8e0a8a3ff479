"""The test server where there are no processes: Python in WebAssembly.

The protocol is server.py's. A candidate is a program of its own in a fresh
instance (alone.py), with its file in the original's place. It tells events to
the host, the host hands them on as data, and the verdict is put together here,
in an instance that never met a candidate.
"""

import base64
import json
import os
import secrets
import sys
import traceback

from wit_world.imports import host

import forked
import report

READY = "ready_django"
HERE = os.path.dirname(os.path.abspath(__file__))
FLOOD = 8 << 20
# Times the CPU seconds of a process, and more where all must be imported first.
SLOWER, IMPORTS = 4, 20


class Server:
    def __init__(self, config):
        self.config = config
        self.root = config["root"].rstrip("/") + "/"

    def answer(self, request):
        if request["op"] == "hello":
            return {"python": sys.version.split()[0], "isolated": True, "hot": False}
        if request["op"] != "run":
            return {"error": f"{request['op']}: not in WebAssembly, use the sandbox local"}
        answer = self.candidate(request, self.is_ready(request))
        if "unsure" in answer:
            return {**self.candidate(request, False), "unsure": answer["unsure"]}
        return answer

    def is_ready(self, request):
        """Whether the candidate may begin where the project is imported: then
        its file is not, or one method of it can be swapped."""
        return READY in sys.modules and (request["path"] == "hot" or module_of(request["file"]) not in sys.modules)

    def candidate(self, request, ready):
        limits = {"disk_mb": 128, **request["limits"]}
        more = 0 if ready else IMPORTS
        token = secrets.token_hex(16)
        told = json.dumps({**self.config, "token": token, "ready": ready, "module": module_of(request["file"]),
                           **{name: request[name] for name in ("tests", "file", "methods")}})
        ran = host.run(
            [sys.executable or "python3", os.path.join(HERE, "alone.py")], told, covers(self.root, request),
            host.Limits(1000 * (limits["wall"] * 2 + more), 1000 * (limits["cpu"] * SLOWER + more),
                        limits["memory_mb"], limits["disk_mb"], FLOOD),
            ready)
        events = forked.parse("\n".join(ran.told).encode("utf-8", "backslashreplace"))
        refused = forked.refusal(events, ready)
        if refused is not None:
            return refused
        ended = None if ran.ending == host.Ending.DONE else ran.ending.name.lower()
        answer = {"path": "hot" if ready else "cold0", "cpu": ran.cpu_ms / 1000, "wall": ran.wall_ms / 1000}
        return {**answer, **report.judge(request["tests"], events, ended, token)}


def covers(root, request):
    """The candidate's file, and nothing where bytecode of the original lies."""
    path = root + request["file"]
    folder, name = os.path.split(path)
    cache = os.path.join(folder, "__pycache__")
    compiled = os.listdir(cache) if os.path.isdir(cache) else []
    nothing = [host.Cover(os.path.join(cache, one), None) for one in compiled if one.startswith(name[:-2])]
    return [host.Cover(path, base64.b64decode(request["content"])), *nothing]


def module_of(file):
    name = file[:-3].replace("/", ".")
    return name.removesuffix(".__init__")


def main():
    lines, answers = sys.stdin, sys.stdout
    sys.stdout = sys.stderr
    server = Server(json.loads(sys.argv[1]))
    for line in lines:
        try:
            answer = server.answer(json.loads(line))
        except BaseException:
            answer = {"error": traceback.format_exc()[-4000:]}
        print(forked.written(answer), file=answers, flush=True)
