"""Time and memory of a step of fixfly and of mini-swe-agent, one after the other.

Both run the same commands of a script, each in a process of its own, in a
repository of two files: fixfly in its sandbox `local`, mini-swe-agent in its
environment `local`, which isolates nothing. A step's cost is the difference
between a long run and a short one over the difference of their steps. The row
"bash alone" is what no agent with a new bash for each command can go below: a
program that does nothing but start it."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from small_issue import prepare

WORK, FIXFLY = pathlib.Path(sys.argv[1]), sys.argv[2]
SHORT, LONG = 20, 420
REPEATS = int(sys.argv[3]) if len(sys.argv) > 3 else 5
COMMANDS = ["true", "cat a.py", "git status --short", "python3 -c 'print(1)'"]
MINI = """
import json, sys
from minisweagent.agents.default import DefaultAgent
from minisweagent.environments.local import LocalEnvironment
from minisweagent.models.test_models import DeterministicModel, make_output
from pathlib import Path
commands = json.loads(Path(sys.argv[1]).read_text())
outputs = [make_output(f"I do.\\n```bash\\n{c}\\n```", [{"command": c}], 0.001) for c in commands]
agent = DefaultAgent(DeterministicModel(outputs=outputs), LocalEnvironment(cwd=sys.argv[2]),
    system_template="You are.", instance_template="Solve {{task}}.", cost_limit=100.0)
agent.run("it")
agent.save(Path(sys.argv[3]))
"""


# Starts each command of a script in bash, without a shell's state and without looking at what it prints.
BASH = """
import json, os, sys
out = os.open(os.devnull, os.O_WRONLY)
os.chdir(sys.argv[2])
for command in json.load(open(sys.argv[1])):
    actions = [(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)]
    os.waitpid(os.posix_spawn("/bin/bash", ["bash", "-c", command], os.environ, file_actions=actions), 0)
"""


def measured(command, env):
    """Wall seconds, processor seconds with all it started, and the most memory
    of one process of it, MiB."""
    program = "import os,resource,subprocess,sys\n" \
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)\n" \
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n" \
        "sys.stderr.buffer.write(done.stderr[-2000:])\n" \
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)\nsys.exit(done.returncode)"
    start = time.perf_counter()
    found = subprocess.run([sys.executable, "-c", program, *command], env=env, capture_output=True, text=True)
    wall = time.perf_counter() - start
    if found.returncode:
        sys.exit(f"{command}: {found.stderr}")
    processor, memory = map(float, found.stdout.split())
    return wall, processor, memory


def main():
    repo = prepare(WORK, {"a.py": "x = 1\n" * 50, "b.py": "y = 1\n" * 50})
    # The programs that fixfly's sandbox shows: a `python3` of pyenv takes ten times as long to start.
    env = os.environ | {"FIXFLY_HOME": str(WORK / "home"), "FIXFLY_ALLOW_WEAK": "true",
                        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    (WORK / "mini.py").write_text(MINI)
    script = lambda count: WORK / f"commands-{count}.json"
    for count in [SHORT, LONG]:
        commands = [COMMANDS[at % len(COMMANDS)] for at in range(count - 1)]
        commands.append("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT")
        script(count).write_text(json.dumps(commands))

    def mini(count):
        out = WORK / f"mini-{count}/acme__small-1.traj.json"
        return measured([sys.executable, str(WORK / "mini.py"), str(script(count)), str(repo), str(out)], env)

    def bash(count):
        return measured([sys.executable, "-c", BASH, str(script(count)), str(repo)], env)

    def fixfly(count, again):
        # The same commands, as fixfly took them over from mini-swe-agent.
        run = WORK / f"fixfly-{count}-{again}"
        return measured([FIXFLY, "run", "swebench", "--policy", "replay", "--replay", str(WORK / f"theirs-{count}"),
                         "--instances", str(WORK / "table.jsonl"), "--repos", str(WORK / "repos"), "--specs", str(WORK / "specs"),
                         "--tools", "bash-only", "--turns", "1000", "-o", str(run)], env)

    for count in [SHORT, LONG]:
        mini(count)
        subprocess.run([FIXFLY, "trajectory", "import", str(WORK / f"mini-{count}"), "-o", str(WORK / f"theirs-{count}")],
                       env=env, check=True, capture_output=True)
    fixfly(SHORT, "first")
    runs = {name: {SHORT: [], LONG: []} for name in ["bash alone", "mini-swe-agent", "fixfly"]}
    for again in range(REPEATS):
        for count in [SHORT, LONG]:
            runs["bash alone"][count].append(bash(count))
            runs["mini-swe-agent"][count].append(mini(count))
            runs["fixfly"][count].append(fixfly(count, again))
            turns = json.loads((WORK / f"fixfly-{count}-{again}/episodes.jsonl").read_text())["turns"]
            assert len(turns) == count, (len(turns), count)
    steps, medians = LONG - SHORT, {}
    print(f"{SHORT} and {LONG} steps, {REPEATS} times each, in turn; medians")
    print(f"{'':<16}{'wall ms/step':>14}{'CPU ms/step':>14}{'MiB at ' + str(SHORT):>12}{'MiB at ' + str(LONG):>12}{'KiB/step':>10}")
    for name, by_count in runs.items():
        middle = {count: [statistics.median(column) for column in zip(*rows)] for count, rows in by_count.items()}
        wall, processor = ((middle[LONG][at] - middle[SHORT][at]) / steps * 1e3 for at in [0, 1])
        memory = [middle[count][2] for count in [SHORT, LONG]]
        medians[name] = wall, processor, memory[1]
        print(f"{name:<16}{wall:>14.2f}{processor:>14.2f}{memory[0]:>12.1f}{memory[1]:>12.1f}{(memory[1] - memory[0]) * 1024 / steps:>10.1f}")
    ratios = [theirs / ours for theirs, ours in zip(medians["mini-swe-agent"], medians["fixfly"])]
    print("mini-swe-agent / fixfly: wall {:.2f}x, CPU {:.2f}x, memory {:.2f}x".format(*ratios))


main()
