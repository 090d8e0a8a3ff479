"""Rows and table of scripts/peers/projects, from what fixfly wrote and printed."""

import json
import re
import sys
from pathlib import Path

SPLITS = ("train", "validation", "benchmark")
COLUMNS = ("project", "runner", "callables", "train / validation / benchmark", "hot", "minutes",
           "hot = cold", "fresh, cold, hot", "fresh / hot", "original", "stub", "retrieval, 5 turns")


def row(home, name, version, runner):
    home = Path(home)
    header, *items = map(json.loads, (home / name / "manifest.jsonl").read_text().splitlines())
    count = {split: sum(item["split"] == split for item in items) for split in SPLITS}
    hot = sum(item["path"] == "hot" for item in items)
    minutes = int((home / name / "built").read_text()) / 60
    equal, original, stub = [0, 0], [0, 0], [0, 0]
    for split in SPLITS:
        both = (home / f"{name}-{split}.both").read_text()
        add(equal, re.search(r"equal verdicts\s+(\d+) / (\d+)", both))
        # A candidate that is flaky on the cold path decides nothing about the hot one.
        equal[1] -= both.count("  flaky on the cold path, too: ")
        checked = (home / f"{name}-{split}.verify").read_text()
        add(original, re.search(r"original solves (\d+) / (\d+)", checked))
        add(stub, re.search(r"stub solves +(\d+) / (\d+)", checked))
    episodes = home / "runs" / name / "episodes.jsonl"
    solved = [json.loads(line)["verdict"] for line in episodes.open()] if episodes.exists() else []
    solved = [bool(verdict and verdict.get("solved")) for verdict in solved]
    cells = (f"{name} {version}", runner, len(items) + sum(header["left_out"].values()),
             " / ".join(str(count[split]) for split in SPLITS), percent(hot, len(items)), f"{minutes:.1f}",
             fraction(equal), *latency(home / f"{name}.latency"), fraction(original), fraction(stub),
             f"{sum(solved)} of {len(solved)}")
    return json.dumps(cells)


def latency(file):
    """CPU milliseconds of a verdict in a fresh process and on both paths, and their ratio."""
    text = file.read_text() if file.exists() else ""
    found = [re.search(rf"^{way} +(\d+)", text, re.M) for way in (r"\w+, fresh", "local, cold", "local, hot")]
    ratio = re.search(r"fresh process / local, hot +CPU ([\d.]+x)", text)
    if not ratio or not all(found):
        return "not measured", "not measured"
    return ", ".join(way[1] for way in found) + " ms", ratio[1]


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
