"""Both ends of a candidate's process: what the parent hears of it, how it is
ended, and what it is given before it runs anything."""

import base64
import json
import os
import random
import select
import sys
import time

URANDOM = os.urandom  # for what no candidate may foresee


def collect(read, deadline, flood, test_wall=None):
    """What the child writes until it closes its end; and why it was cut off.
    Once a test has started, the child may write nothing for `test_wall` seconds."""
    data = []
    size = 0
    latest = deadline
    while True:
        left = latest - time.monotonic()
        if left <= 0 or not select.select([read], [], [], left)[0]:
            return b"".join(data), "timed_out"
        part = os.read(read, 1 << 16)
        if not part:
            return b"".join(data), None
        data.append(part)
        size += len(part)
        if size > flood:
            return b"".join(data), "exited"
        if test_wall and (latest < deadline or b'"event": "started"' in part):
            latest = min(deadline, time.monotonic() + test_wall)


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
    """The events of a child. It may have written anything: what is no event is passed over."""
    events = []
    for line in data.split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("event"), str) and is_sound(row):
            events.append(row)
    return events


def is_sound(row):
    """Whether the parts of a row that are read are of their types."""
    kinds = {"id": str, "why": str, "scope": (str, type(None))}
    if not all(isinstance(row[part], kind) for part, kind in kinds.items() if part in row):
        return False
    if "failure" not in row:
        return True
    failure = row["failure"]
    return isinstance(failure, dict) and isinstance(failure.get("output", ""), str) and \
        all(isinstance(failure.get(part), str) for part in ("exception", "message", "traceback"))


def refusal(events, may_be_unsure):
    """Why there is no verdict, where the server's own code in the child said so:
    what is `broken` is so before the first event, and only a swap is `unsure`."""
    if events[:1] and events[0]["event"] == "broken":
        return {"error": events[0].get("why", "")}
    unsure = next((row for row in events if row["event"] == "unsure"), None) if may_be_unsure else None
    return {"unsure": unsure.get("why", "")} if unsure else None


def written(value):
    """One line of JSON that any reader takes: half a surrogate pair, which
    Python's texts may hold and JSON's may not, becomes its escape as text."""
    text = json.dumps(value)
    return json.dumps(whole(value)) if "\\ud" in text else text


def whole(value):
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {whole(name): whole(part) for name, part in value.items()}
    return [whole(part) for part in value] if isinstance(value, (list, tuple)) else value


def say(fd, row):
    os.write(fd, json.dumps(row).encode() + b"\n")


def close_others(keep, held=()):
    """Leaves the child no way to talk to the server's own pipes. What is `held`
    stays open until the child has files of its own for it."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd != keep and fd not in held:
            try:
                os.close(fd)
            except OSError:
                pass


def bytecode(path):
    """Where Python keeps what it compiled of a file."""
    folder, name = os.path.split(path)
    return os.path.join(folder, "__pycache__", f"{name[:-3]}.{sys.implementation.cache_tag}.pyc")


def covers(root, request):
    """The candidate's file, and nothing where bytecode of the original lies."""
    if not request.get("file"):
        return {}
    path = root + request["file"]
    files = {path: base64.b64decode(request["content"])}
    compiled = bytecode(path)
    if os.path.exists(compiled):
        files[compiled] = b""
    return files


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
