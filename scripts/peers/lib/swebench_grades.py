"""Compares fixfly's reports with those that the installed `swebench` makes of
the same logs."""

import collections
import json
import os
import pathlib
import sys
import types

WORK, RULES = pathlib.Path(sys.argv[1]), sys.argv[2]

from swebench.harness.grading import get_eval_report


def spec(row):
    tests = {name: json.loads(row[name]) if isinstance(row[name], str) else row[name] for name in ["FAIL_TO_PASS", "PASS_TO_PASS"]}
    return types.SimpleNamespace(
        instance_id=row["instance_id"], repo=row["repo"], version=row["version"],
        log_parser="parse_log_django", eval_type="pass_and_fail", **tests,
    )


def main():
    os.chdir(WORK)
    counts, wrong = collections.Counter(), []
    theirs_resolved = set()
    for text in (WORK / "instances.jsonl").read_text().splitlines():
        row = json.loads(text)
        name = row["instance_id"]
        folder = WORK / "logs/run_evaluation" / f"rules-{RULES}" / "peer__model" / name
        prediction = {"instance_id": name, "model_name_or_path": "peer/model", "model_patch": "p"}
        try:
            theirs = get_eval_report(spec(row), prediction, str(folder / "test_output.txt"), True)
        except Exception as error:
            theirs = type(error).__name__
        file = folder / "report.json"
        ours = json.loads(file.read_text()) if file.exists() else None
        if ours is not None:
            ours[name].pop("fixfly")
        same = ours is None if isinstance(theirs, str) else ours == theirs
        kind = theirs if isinstance(theirs, str) else "resolved" if theirs[name]["resolved"] else (
            "unresolved" if theirs[name]["patch_successfully_applied"] else "no run")
        if kind == "resolved":
            theirs_resolved.add(name)
        counts[kind] += 1
        if not same:
            wrong.append((name, theirs, ours))
    run = json.loads((WORK / f"peer__model.rules-{RULES}.json").read_text())
    if set(run["resolved_ids"]) != theirs_resolved:
        wrong.append(("run report", sorted(theirs_resolved), run["resolved_ids"]))
    for name, theirs, ours in wrong[:5]:
        print(f"{name}:\n  theirs {theirs}\n  ours   {ours}")
    total = sum(counts.values())
    print(f"rules {RULES}: {total - len(wrong)} of {total} logs graded the same ({dict(counts)})")
    sys.exit(bool(wrong))


main()
