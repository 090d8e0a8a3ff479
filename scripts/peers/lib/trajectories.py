"""mini-swe-agent at work with scripted models, and what fixfly made of it."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys


def write(folder):
    """Has mini-swe-agent itself work in a small repository, in several ways."""
    from minisweagent.agents.default import DefaultAgent
    from minisweagent.environments.local import LocalEnvironment
    from minisweagent.exceptions import FormatError
    from minisweagent.models.utils.actions_text import parse_regex_actions
    from minisweagent.models.test_models import (
        DeterministicModel,
        DeterministicResponseAPIToolcallModel,
        DeterministicToolcallModel,
        make_output,
        make_response_api_output,
        make_toolcall_output,
    )

    repo = folder.parent / "repo"
    repo.mkdir()
    (repo / "a.py").write_text("x = 1\n")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x.x"]
    subprocess.run(["git", "init", "-q"], cwd=repo, check=True)
    subprocess.run([*git, "add", "."], cwd=repo, check=True)
    subprocess.run([*git, "commit", "-qm", "x"], cwd=repo, check=True)
    submit = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && git diff"

    def in_words(*commands):
        return [make_output(f"I do.\n```bash\n{c}\n```", [{"command": c}], 0.25) for c in commands]

    def native(*groups):
        outputs = []
        for at, commands in enumerate(groups):
            ids = [f"call_{at}_{n}" for n in range(len(commands))]
            calls = [
                {"id": i, "type": "function", "function": {"name": "bash", "arguments": json.dumps({"command": c})}}
                for i, c in zip(ids, commands)
            ]
            actions = [{"command": c, "tool_call_id": i} for i, c in zip(ids, commands)]
            outputs.append(make_toolcall_output(None, calls, actions))
        return outputs

    def items(*commands):
        return [make_response_api_output("I do.", [{"command": c, "tool_call_id": f"c{n}"}]) for n, c in enumerate(commands)]

    class Parsed(DeterministicModel):
        """Reads its words as mini-swe-agent reads a model's."""

        def query(self, messages, **_):
            self.current_index += 1
            output = self.config.outputs[self.current_index]
            try:
                actions = parse_regex_actions(
                    output["content"], action_regex=r"```bash\n(.*?)\n```", format_error_template="{{ error }}"
                )
            except FormatError as error:
                error.messages[0]["extra"]["cost"] = 0.25
                raise
            return make_output(output["content"], actions, 0.25)

    cases = {
        "words": (DeterministicModel, in_words("ls", "printf 'ä\\n'", "sed -i s/1/2/ a.py", submit), {}),
        "native": (DeterministicToolcallModel, native(["ls", "cat a.py"], ["sleep 9"], ["false"], [submit]), {}),
        "items": (DeterministicResponseAPIToolcallModel, items("ls", "cat a.py", submit), {}),
        "steps": (DeterministicModel, in_words("ls", "ls", "ls"), {"step_limit": 2}),
        "money": (DeterministicModel, in_words("ls", "ls", "ls"), {"cost_limit": 0.3}),
        "wrong": (Parsed, [make_output("Hm.", []), *in_words(submit)], {}),
    }
    for name, (model, outputs, limits) in cases.items():
        subprocess.run(["git", "checkout", "-q", "."], cwd=repo, check=True)
        agent = DefaultAgent(
            model(outputs=outputs), LocalEnvironment(cwd=str(repo), timeout=1),
            system_template="You are.", instance_template="Solve {{task}}.",
            output_path=folder / f"peer__{name}-1.traj.json", **({"cost_limit": 100.0} | limits),
        )
        agent.run("it")


def episodes(file):
    return {e["task"]["id"]: e for e in map(json.loads, file.read_text().splitlines())}


def same(folder, file):
    """Each command, output and patch, as mini-swe-agent's own messages have them."""
    ours, steps, wrong = episodes(file), 0, []
    for path in sorted(folder.glob("*.traj.json")):
        theirs = json.loads(path.read_text())
        episode = ours[path.name.removesuffix(".traj.json")]
        commands, outputs = [], []
        for message in theirs["messages"]:
            extra = message.get("extra", {})
            commands += [action["command"] for action in extra.get("actions", [])]
            if "raw_output" in extra:
                outputs.append(message.get("content") or message.get("output"))
        tools = [t for t in episode["turns"] if "tool" in t["action"]["call"]]
        called = [t["action"]["call"]["tool"]["args"]["command"] for t in tools]
        seen = [t["observation"]["text"] for t in tools][: len(outputs)]
        info = theirs["info"]
        cost = sum(t["action"]["usage"].get("usd") or 0 for t in episode["turns"])
        checks = {
            "commands": called == commands,
            "outputs": seen == outputs,
            "patch": (episode["patch"] or "") == (info["submission"] if info["submission"].strip() else ""),
            "cost": abs(cost - info["model_stats"]["instance_cost"]) < 1e-9,
            "end": (episode["end"]["kind"] == "submitted") == (info["exit_status"] == "Submitted"),
            "verdict": episode["verdict"] is None,
        }
        steps += len(commands)
        wrong += [f"{path.name}: {name}" for name, holds in checks.items() if not holds]
    print(f"import: {len(ours)} trajectories of mini-swe-agent, {steps} commands, {len(wrong)} differences")
    return wrong


def accepts(atif, traj):
    from harbor.models.trajectories import Trajectory

    files = sorted(atif.glob("*/trajectory.json"))
    for file in files:
        value = json.loads(file.read_text())
        assert Trajectory.model_validate(value).to_json_dict()["steps"], file
        assert value["schema_version"] == Trajectory.model_fields["schema_version"].default, file
    print(f"harbor accepts {len(files)} of {len(files)} exports")
    trajectories = sorted(traj.glob("*/*.traj"))
    checkout = os.environ.get("SWE_AGENT")
    if not checkout:
        print(f"SWE-agent's own types: left out for {len(trajectories)} exports, SWE_AGENT names no checkout")
        return []
    def module(name):
        spec = importlib.util.spec_from_file_location(f"peer_{name}", f"{checkout}/{name.replace('.', '/')}.py")
        found = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = found
        spec.loader.exec_module(found)
        return found
    types, server = module("sweagent.types"), module("sweagent.inspector.server")
    for file in trajectories:
        value = json.loads(file.read_text())
        types.AgentRunResult.model_validate(value)
        shown = server.append_exit(server.add_problem_statement(json.loads(file.read_text())))
        assert len(shown["trajectory"]) > len(value["trajectory"]), file
    print(f"SWE-agent's types and viewer accept {len(trajectories)} of {len(trajectories)} exports")
    return []


def round_trip(before, after):
    def deeds(episode):
        turns = [(t["action"]["call"], t["action"]["text"], t["observation"]["text"]) for t in episode["turns"]]
        return turns, episode["patch"]

    first, second = episodes(before), episodes(after)
    wrong = [name for name in first if deeds(first[name]) != deeds(second[name])]
    print(f"round trip: {len(first) - len(wrong)} of {len(first)} the same")
    return wrong


def foreign(folder):
    """Has harbor's models write a trajectory in each version, in the folders of its trials."""
    from harbor.models.trajectories import (
        Agent, ContentPart, FinalMetrics, Metrics, Observation, ObservationResult, Step, ToolCall, Trajectory,
    )

    versions = Trajectory.model_fields["schema_version"].annotation.__args__
    for at, version in enumerate(versions):
        calls = [ToolCall(tool_call_id=f"c{n}", function_name="bash", arguments={"command": f"echo {n}"}) for n in (1, 2)]
        results = [ObservationResult(source_call_id=f"c{n}", content=f"{n}\n") for n in (2, 1)]
        text = [ContentPart(type="text", text="Solve it.")] if at >= 6 else "Solve it."
        steps = [
            Step(step_id=1, source="system", message="You are."),
            Step(step_id=2, source="user", message=text, timestamp="2026-01-02T03:04:05Z"),
            Step(
                step_id=3, source="agent", message="I look.", reasoning_content="Where?", tool_calls=calls,
                observation=Observation(results=results), metrics=Metrics(prompt_tokens=9, completion_tokens=2, cost_usd=0.5),
            ),
            Step(step_id=4, source="agent", message="Done."),
        ]
        trajectory = Trajectory(
            schema_version=version, session_id="s", agent=Agent(name="coder", version="1", model_name="m"), steps=steps,
            final_metrics=FinalMetrics(total_prompt_tokens=9, total_steps=4),
        )
        trial = folder / f"peer__v{at}__AbCdEfG"
        (trial / "agent").mkdir(parents=True)
        (trial / "agent/trajectory.json").write_text(json.dumps(trajectory.to_json_dict()))
        (trial / "result.json").write_text(json.dumps({"task_name": f"peer__v{at}"}))


def taken(folder, file):
    ours, wrong = episodes(file), []
    for path in sorted(folder.glob("*/result.json")):
        name = json.loads(path.read_text())["task_name"]
        turns = ours[name]["turns"]
        called = [t["action"]["call"].get("tool", {}).get("args", {}).get("command") for t in turns]
        usage = turns[0]["action"]["usage"]
        checks = {
            "commands": called == ["echo 1", "echo 2", None],
            "outputs": [t["observation"]["text"] for t in turns] == ["1\n", "2\n", ""],
            "words": [t["action"]["text"] for t in turns] == ["I look.", "", "Done."],
            "cost": (usage["prompt_tokens"], usage["completion_tokens"], usage["usd"]) == (9, 2, 0.5),
            "agent": ours[name]["policy"] == "coder",
        }
        wrong += [f"{name}: {check}" for check, holds in checks.items() if not holds]
    print(f"harbor's own: {len(ours)} versions of ATIF, {len(wrong)} differences")
    return wrong


if __name__ == "__main__":
    doing, *paths = sys.argv[1:]
    does = {"write": write, "same": same, "accepts": accepts, "round": round_trip, "foreign": foreign, "taken": taken}[doing]
    wrong = does(*map(pathlib.Path, paths)) or []
    print(*wrong, sep="\n", end="\n" if wrong else "")
    sys.exit(bool(wrong))
