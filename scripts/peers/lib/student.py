"""What the episodes of scripts/peers/student must say."""

import json
import pathlib
import sys

runs, tasks, turns, real = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]


def episodes(run):
    with open(runs / f"run-{run}" / "episodes.jsonl") as lines:
        found = [json.loads(line) for line in lines]
    assert len(found) == tasks, f"{run}: {len(found)} of {tasks} episodes"
    return sorted(found, key=lambda episode: episode["task"]["id"])


def actions_of(run):
    return [turn["action"] for episode in episodes(run) for turn in episode["turns"]]


for run in ["streamed", "again", "whole", "file"]:
    actions = actions_of(run)
    assert len(actions) == tasks * turns, f"{run}: {len(actions)} turns"
    for action in actions:
        usage, generation = action["usage"], action["generation"]
        # This server reports no usage for a stream, although it is asked to.
        if run in ("whole", "file"):
            assert usage["prompt_tokens"] > 500, (run, usage)
            # It counts one token more than it was allowed.
            assert 0 < usage["completion_tokens"] <= 25, (run, usage)
        assert usage["calls"] == (0 if run == "again" else 1) and action["text"], (run, usage)
        assert generation["finish"] in ("length", "stop"), (run, generation)
        assert generation["model"] == ("qwen3.gguf" if run == "file" else "tiny"), (run, generation)
    print(f"{run}: {tasks} episodes, {len(actions)} turns,", sum(a["usage"]["prompt_tokens"] for a in actions), "prompt tokens")

words = [[action["text"] for action in actions_of(run)] for run in ("streamed", "again")]
assert words[0] == words[1], "an answer that was kept is another one"


def readable(action):
    return action["text"].replace("\ufffd", "")[:6]


def check_same(whole, file):
    """The server and the policy llama read the same prompts, and begin their answers alike."""
    served, own = [[episode["turns"][0]["action"] for episode in episodes(run)] for run in (whole, file)]
    sizes = [[action["usage"]["prompt_tokens"] for action in actions] for actions in (served, own)]
    assert sizes[0] == sizes[1], f"the server and the policy llama do not read the same prompts: {sizes}"
    # Caches of other numbers round apart in the end, but not at once.
    same = sum(readable(one) == readable(other) for one, other in zip(served, own))
    print(f"the same first words from the server ({whole}) and from the file: {same} of {tasks}")
    assert same == tasks, [(one["text"], other["text"]) for one, other in zip(served, own)]


check_same("whole", "file")
ends = {json.dumps(episode["end"]) for episode in episodes("narrow")}
print("a window of 512 tokens ends episodes as", *ends)
assert ends == {'{"kind": "budget_spent", "limit": "context"}'}, ends


def check_held(run):
    """Each answer changes a line that occurs once in the method, and none is given twice."""
    held = resampled = 0
    for episode in episodes(run):
        faulty = [line.strip() for line in episode["task"]["statement"]["faulty"].split("\n")]
        earlier = set()
        for action in (turn["action"] for turn in episode["turns"]):
            generation, text = action["generation"], action["text"].strip()
            resampled += generation.get("resampled", 0)
            # After eight tries, an answer may be an earlier one.
            assert text not in earlier or generation.get("resampled", 0) == 7, (run, text)
            earlier.add(text)
            if generation["finish"] != "stop":
                continue
            start, removed, added, end = text.split("\n")
            assert (start, end, removed[:2], added[:2]) == ("```python", "```", "- ", "+ "), (run, text)
            assert faulty.count(removed[2:].strip()) == 1, (run, text)
            assert removed[2:].strip() != added[2:].strip(), (run, text)
            held += 1
    print(f"{run}: {held} answers change a line of the method, {resampled} were dropped as repeats")
    assert held, f"{run}: no answer ended"


for name in real:
    for run in (f"{name}-whole", f"{name}-file"):
        actions = actions_of(run)
        assert tasks <= len(actions) <= tasks * turns, f"{run}: {len(actions)} turns"
        for action in actions:
            assert action["usage"]["prompt_tokens"] > 100 and action["text"], (run, action["usage"])
    check_same(f"{name}-whole", f"{name}-file")
    check_held(f"{name}-held")
