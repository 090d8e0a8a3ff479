"""Prints what SWE-ReX takes to open a container, run a command in it and close it, in
milliseconds, as one line of JSON. Called by `cargo bench --bench sandboxes` with how often."""

import asyncio
import importlib.metadata
import json
import statistics
import subprocess
import sys
import time

from swerex.deployment.docker import DockerDeployment
from swerex.runtime.abstract import Command

IMAGE = "fixfly-peers/swerex"


def since(start):
    return (time.perf_counter() - start) * 1000


def memory(container):
    """Proportional memory of its processes, MB."""
    listed = subprocess.run(["docker", "top", container, "-o", "pid"], capture_output=True, text=True, check=True)
    total = 0
    for pid in listed.stdout.split()[1:]:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total / 1024


async def one(opens, execs, pythons, closes):
    # The container's port is the machine's: a bridge is not to be had everywhere.
    place = DockerDeployment(image=IMAGE, pull="never", port=8000, docker_args=["--network=host"], startup_timeout=120)
    start = time.perf_counter()
    await place.start()
    opens.append(since(start))
    for _ in range(5):
        for words, spent in ((["true"], execs), (["python3", "-c", "pass"], pythons)):
            start = time.perf_counter()
            answer = await place.runtime.execute(Command(command=words))
            spent.append(since(start))
            assert answer.exit_code == 0, answer
    held = memory(place.container_name)
    start = time.perf_counter()
    await place.stop()
    closes.append(since(start))
    return held


async def main(times):
    opens, execs, pythons, closes = [], [], [], []
    for _ in range(times):
        held = await one(opens, execs, pythons, closes)
    print(json.dumps({
        "version": importlib.metadata.version("swe-rex"),
        "open": statistics.median(opens),
        "exec": statistics.median(execs),
        "python": statistics.median(pythons),
        "close": statistics.median(closes),
        "memory": held,
    }))


asyncio.run(main(int(sys.argv[1])))
