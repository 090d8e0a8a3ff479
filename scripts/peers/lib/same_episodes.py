"""Compares two runs, episode by episode, without times: same_episodes.py RUN RUN."""

import json
import sys

# What a clock determines, and the directory of the run itself.
TIMES = {"timings", "started", "finished", "seconds", "elapsed_ms", "duration_ms", "ms", "at"}


def lasting(value):
    if isinstance(value, dict):
        return {key: lasting(part) for key, part in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [lasting(part) for part in value]
    return value


def read(run):
    episodes = {}
    with open(f"{run}/episodes.jsonl", encoding="utf-8") as lines:
        for line in lines:
            episode = json.loads(line)
            key = (episode["task"]["id"], episode["provenance"].get("sample", 0))
            assert key not in episodes, f"{run} has {key} twice"
            episodes[key] = lasting(episode)
    return episodes


def differences(one, other, path=""):
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from differences(one.get(key), other.get(key), f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (a, b) in enumerate(zip(one, other)):
            yield from differences(a, b, f"{path}[{index}]")
    elif one != other:
        yield f"{path}: {json.dumps(one)[:80]} and {json.dumps(other)[:80]}"


def main():
    one, other = (read(run) for run in sys.argv[1:3])
    assert one.keys() == other.keys(), f"missing: {one.keys() ^ other.keys()}"
    found = [f"{key[0]}{line}" for key in one for line in differences(one[key], other[key])]
    assert not found, "\n".join(found[:20])
    print(f"{len(one)} episodes, equal but for times")


if __name__ == "__main__":
    main()
