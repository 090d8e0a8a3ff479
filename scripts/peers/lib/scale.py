"""Episodes a second, CPU and memory of fixfly, mini-swe-agent and inspect_ai, with
few and many episodes at once.

Each measurement is a process of its own. Its CPU seconds are those between the
start and the end of its episodes, with all that it started; its memory is the most
that was resident, start included. Every side has the same scripted model: 20 turns,
a task with 13 kB of text, an observation of 700 bytes."""

import concurrent.futures
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

from small_issue import prepare

TURNS = 20
TASK = "class A:\n    x = 1\n" * 700
SEEN = "Traceback (most recent call last):\n  a line of a test\n" * 13
SAID = "```python\ndef f(self):\n    return 1\n```\n"
# What a step of an agent runs. All of it is in Debian's /usr/bin.
COMMANDS = ["true", "cat a.py", "git status --short", "ls"]
LAST = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"


def commands():
    return [COMMANDS[at % len(COMMANDS)] for at in range(TURNS - 1)] + [LAST]


def used():
    """CPU seconds of this process and of all it waited for."""
    both = [resource.getrusage(who) for who in [resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN]]
    return sum(one.ru_utime + one.ru_stime for one in both)


def report(episodes, start, processor):
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([episodes, time.perf_counter() - start, used() - processor, memory]))


def mini(at_once, episodes, repo):
    from minisweagent.agents.default import DefaultAgent
    from minisweagent.environments.local import LocalEnvironment
    from minisweagent.models.test_models import DeterministicModel, make_output

    class Nowhere(LocalEnvironment):
        def execute(self, action, cwd="", *, timeout=None):
            last = action["command"] == LAST
            output = {"output": LAST[5:] if last else SEEN, "returncode": 0, "exception_info": ""}
            self._check_finished(output)
            return output

    def episode(_):
        outputs = [make_output(SAID, [{"command": command}], 0.001) for command in commands()]
        world = LocalEnvironment(cwd=repo) if repo else Nowhere()
        agent = DefaultAgent(DeterministicModel(outputs=outputs), world, system_template="You are.",
                             instance_template="Solve {{task}}.", cost_limit=100.0)
        agent.run(TASK)
        assert agent.n_calls == TURNS, agent.n_calls

    start, processor = time.perf_counter(), used()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        list(pool.map(episode, range(episodes)))
    report(episodes, start, processor)


def inspect(at_once, episodes, _):
    from inspect_ai import Task, eval as evaluate
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ChatMessageUser, ModelOutput, ModelUsage, get_model
    from inspect_ai.solver import solver

    @solver
    def turns():
        async def solve(state, generate):
            for _ in range(TURNS):
                state = await generate(state)
                state.messages.append(ChatMessageUser(content=SEEN))
            return state
        return solve

    def answer(*_):
        output = ModelOutput.from_content("mockllm/model", SAID)
        # Else it counts tokens with a table that it downloads.
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    model = get_model("mockllm/model", custom_outputs=answer)
    task = Task(dataset=[Sample(input=TASK, id=at) for at in range(episodes)], solver=turns())
    start, processor = time.perf_counter(), used()
    logs = evaluate(task, model=model, max_samples=at_once, max_connections=at_once, display="none",
                    log_dir=os.environ["LOGS"], log_level="error")
    assert logs[0].status == "success", logs[0].error
    report(episodes, start, processor)


def main(work, fixfly, loop, plain, shells):
    work = pathlib.Path(work)
    env = os.environ | {"LOGS": str(work / "logs"), "FIXFLY_HOME": str(work / "home"), "FIXFLY_ALLOW_WEAK": "true",
                        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

    def side(name, at_once, episodes, repo=""):
        words = [sys.executable, __file__, "side", name, str(at_once), str(episodes), str(repo)]
        found = subprocess.run(words, env=env, capture_output=True, text=True)
        if found.returncode:
            sys.exit(f"{name}: {found.stderr[-2000:]}")
        return json.loads(found.stdout.splitlines()[-1])

    def ours(at_once, episodes):
        words = [loop, "--bench", "--scale", "--at-once", str(at_once), "--episodes", str(episodes), "--turns", str(TURNS)]
        found = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
        return json.loads(found.stdout.splitlines()[-1])

    print(f"no sandbox, {TURNS} turns an episode; each row is a process")
    head = f"{'':<16}{'at once':>8}{'episodes':>9}{'episodes/s':>12}{'turns/CPU s':>13}{'MiB':>7}{'MiB/episode':>13}"
    print(head)
    best = {}
    for at_once in plain:
        for name, measure, episodes in [
            ("fixfly", ours, max(1000, at_once)),
            ("mini-swe-agent", lambda *words: side("mini", *words), max(128, at_once)),
            ("inspect_ai", lambda *words: side("inspect", *words), max(128, at_once)),
        ]:
            shown(name, at_once, measure(at_once, episodes), best)
    ratios(best, plain)

    repo = prepare(work, {"a.py": "x = 1\n" * 50})
    print(f"\nshell commands ({', '.join(COMMANDS)}), {TURNS} an episode; fixfly in its sandbox `local`, mini-swe-agent in none")
    print(head)
    best = {}
    for at_once in shells:
        shown("fixfly", at_once, replayed(work, fixfly, env, repo, at_once), best)
        shown("mini-swe-agent", at_once, side("mini", at_once, at_once, repo), best)
    ratios(best, shells)


def shown(name, at_once, measured, best):
    episodes, wall, processor, memory = measured
    speed = episodes * TURNS / processor
    best[name, at_once] = speed
    print(f"{name:<16}{at_once:>8}{episodes:>9}{episodes / wall:>12.1f}{speed:>13.0f}{memory:>7.0f}{memory / at_once:>13.2f}", flush=True)


def ratios(best, all_at_once):
    names = sorted({name for name, _ in best} - {"fixfly"})
    for name in names:
        each = [f"{best['fixfly', n] / best[name, n]:.2f}x at {n}" for n in all_at_once]
        print(f"turns per CPU second, fixfly / {name}: {', '.join(each)}")
    for name in ["fixfly", *names]:
        first, last = all_at_once[0], all_at_once[-1]
        print(f"{name}: a turn at {last} at once costs {best[name, first] / best[name, last]:.2f} times one at {first}")


def replayed(work, fixfly, env, repo, at_once):
    """As many samples of the script, all at once. What an episode of its last turn costs,
    with its sandbox and its grade, is taken off."""
    issues = ["--instances", str(work / "table.jsonl"), "--repos", str(work / "repos"), "--specs", str(work / "specs"),
              "--tools", "bash-only", "--turns", "100"]

    def run(name, *more):
        before, start = used(), time.perf_counter()
        found = subprocess.run(["/usr/bin/time", "-f", "%M", fixfly, "run", "swebench", *issues, *more, "-o", str(work / name)],
                               env=env, capture_output=True, text=True)
        if found.returncode:
            sys.exit(f"fixfly: {found.stderr[-2000:]}")
        return time.perf_counter() - start, used() - before, int(found.stderr.split()[-1]) / 1024

    call = lambda command: {"text": SAID, "call": {"tool": {"name": "bash", "args": {"command": command}}},
                            "usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    if not (work / "null").exists():
        run("null", "--policy", "null")
    episode = json.loads((work / "null/episodes.jsonl").read_text().splitlines()[0])
    turn = lambda command: {"action": call(command), "observation": {"text": "", "outcome": "done"},
                            "feedback": {"delta": {"fixed": [], "broken": [], "still_failing": []}, "message": "",
                                         "left": episode["task"]["budget"]}, "timings": {"act_ms": 0, "call_ms": 0}}

    def replay(script):
        """The script in as many samples, all at once."""
        plan, name = f"plan-{at_once}-{len(script)}", f"run-{at_once}-{len(script)}"
        (work / plan).mkdir()
        (work / plan / "run.json").write_text((work / "null/run.json").read_text())
        with (work / plan / "episodes.jsonl").open("w") as out:
            for sample in range(at_once):
                own = {"provenance": episode["provenance"] | {"sample": sample}, "turns": [turn(command) for command in script],
                       "end": {"kind": "submitted"}, "patch": None, "verdict": None}
                out.write(json.dumps(episode | own) + "\n")
        measured = run(name, "--policy", "replay", "--replay", str(work / plan), "--jobs", str(at_once), "--samples", str(at_once))
        lines = (work / name / "episodes.jsonl").read_text().splitlines()
        assert len(lines) == at_once and all(len(json.loads(line)["turns"]) == len(script) for line in lines)
        return measured

    whole, last = replay(commands()), replay([LAST])
    wall, processor = ((whole[at] - last[at]) * TURNS / (TURNS - 1) for at in [0, 1])
    return at_once, max(wall, 1e-3), processor, whole[2]


if __name__ == "__main__":
    if sys.argv[1] == "side":
        _, _, name, at_once, episodes, repo = sys.argv
        {"mini": mini, "inspect": inspect}[name](int(at_once), int(episodes), repo)
    else:
        work, fixfly, loop, plain, shells = sys.argv[1:]
        numbers = lambda text: [int(word) for word in text.split(",")]
        main(work, fixfly, loop, numbers(plain), numbers(shells))
