"""Rows and table of scripts/peers/projects, from what fixfly wrote and printed."""

import json
import re
import sys
from pathlib import Path

SPLITS = ("train", "validation", "benchmark")
COLUMNS = ("project", "runner", "callables", "train / validation / benchmark", "hot", "minutes",
           "hot = cold", "cold / hot CPU", "original", "stub", "retrieval, 5 turns")


def row(home, name, version, runner):
    home = Path(home)
    header, *items = map(json.loads, (home / name / "manifest.jsonl").read_text().splitlines())
    count = {split: sum(item["split"] == split for item in items) for split in SPLITS}
    hot = sum(item["path"] == "hot" for item in items)
    minutes = int((home / name / "built").read_text()) / 60
    equal, ratios, original, stub = [0, 0], [], [0, 0], [0, 0]
    for split in SPLITS:
        both = (home / f"{name}-{split}.both").read_text()
        add(equal, re.search(r"equal verdicts\s+(\d+) / (\d+)", both))
        ratio = re.search(r"median ratio ([\d.]+)x", both)
        if ratio and count[split]:
            ratios.append((count[split], float(ratio[1])))
        checked = (home / f"{name}-{split}.verify").read_text()
        add(original, re.search(r"original solves (\d+) / (\d+)", checked))
        add(stub, re.search(r"stub solves +(\d+) / (\d+)", checked))
    episodes = home / "runs" / name / "episodes.jsonl"
    solved = [json.loads(line)["verdict"] for line in episodes.open()] if episodes.exists() else []
    solved = [bool(verdict and verdict.get("solved")) for verdict in solved]
    weighted = sum(n * ratio for n, ratio in ratios) / max(1, sum(n for n, _ in ratios))
    cells = (f"{name} {version}", runner, len(items) + sum(header["left_out"].values()),
             " / ".join(str(count[split]) for split in SPLITS), percent(hot, len(items)), f"{minutes:.1f}",
             fraction(equal), f"{weighted:.1f}x", fraction(original), fraction(stub),
             f"{sum(solved)} of {len(solved)}")
    return json.dumps(cells)


def add(total, found):
    if found:
        total[0] += int(found[1])
        total[1] += int(found[2])


def fraction(total):
    return f"{total[0]} of {total[1]}" if total[1] else "not measured"


def percent(part, whole):
    return f"{100 * part / whole:.0f} %" if whole else "none"


def table(lines):
    rows = [COLUMNS, ["---"] * len(COLUMNS), *map(json.loads, lines)]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in rows)


if __name__ == "__main__":
    print(row(*sys.argv[2:]) if sys.argv[1] == "row" else table(sys.stdin))
