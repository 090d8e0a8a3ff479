"""What the official harness does for a set of instances, natively and one
after the other: a tree, the patch, the tests, the test command, its grade.

swebench_by_hand.py TABLE TREES VENV [ID...], by a Python that has `swebench`
5.0.2; trees and environment are those that `fixfly grade swebench` made under
FIXFLY_HOME: swebench/trees/OWNER__NAME and swebench/environments/HASH/venv."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import types

from swebench.harness.grading import get_eval_report

TABLE, TREES, VENV = map(pathlib.Path, sys.argv[1:4])
START_TEST_OUTPUT, END_TEST_OUTPUT = ">>>>> Start Test Output", ">>>>> End Test Output"
# The command of swebench 4.1.0 for Django 3.0 to 5.0.
COMMAND = "./tests/runtests.py --verbosity 2 --settings=test_sqlite --parallel 1"
PLAIN = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


def git(*words, cwd, text=None):
    subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x.x", *words], cwd=cwd, input=text,
                   env=os.environ | PLAIN, check=True, capture_output=True)


def tree(row, folder):
    """As the official image holds it: the base commit, ready."""
    [made] = TREES.glob(f"*{row['base_commit'][:12]}*")
    subprocess.run(["cp", "-a", f"{made}/.", str(folder)], check=True)


def files(patch):
    return [line.split(" b/", 1)[1] for line in patch.splitlines() if line.startswith("diff --git ")]


def run(row, folder, patch, log):
    git("reset", "-q", "--hard", cwd=folder)
    git("clean", "-qfd", cwd=folder)
    if patch:
        git("apply", "-", cwd=folder, text=patch.encode())
    git("apply", "-", cwd=folder, text=row["test_patch"].encode())
    labels = [name[len("tests/"):-len(".py")].replace("/", ".") for name in files(row["test_patch"])
              if name.startswith("tests/") and name.endswith(".py")]
    env = {"PATH": f"{VENV}/bin:/usr/bin:/bin", "HOME": str(folder.parent), "PYTHONPATH": str(folder), "TZ": "UTC",
           "LANG": "en_US.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf8"}
    done = subprocess.run(f"{COMMAND} {' '.join(labels)}", shell=True, cwd=folder, env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    text = done.stdout.decode(errors="replace")
    log.write_text(f">>>>> Applied Patch\n{START_TEST_OUTPUT}\n{text}\n{END_TEST_OUTPUT}\n")


def report(row, log):
    tests = {key: json.loads(row[key]) if isinstance(row[key], str) else row[key] for key in ["FAIL_TO_PASS", "PASS_TO_PASS"]}
    spec = types.SimpleNamespace(instance_id=row["instance_id"], repo=row["repo"], version=row["version"],
                                 log_parser="parse_log_django", eval_type="pass_and_fail", **tests)
    prediction = {"instance_id": row["instance_id"], "model_name_or_path": "gold", "model_patch": "p"}
    return get_eval_report(spec, prediction, str(log), True)[row["instance_id"]]["resolved"]


def main():
    rows = [json.loads(line) for line in TABLE.read_text().splitlines() if line.strip()]
    only = set(sys.argv[4:])
    rows = [row for row in rows if not only or row["instance_id"] in only]
    making = running = 0.0
    resolved = [0, 0]
    for row in rows:
        with tempfile.TemporaryDirectory() as place:
            folder, log = pathlib.Path(place) / "testbed", pathlib.Path(place) / "test_output.txt"
            folder.mkdir()
            start = time.perf_counter()
            tree(row, folder)
            making += time.perf_counter() - start
            each = []
            for side, patch in enumerate(["", row["patch"]]):
                start = time.perf_counter()
                run(row, folder, patch, log)
                each.append(time.perf_counter() - start)
                resolved[side] += report(row, log)
            running += sum(each)
            print(f"{row['instance_id']:<28} before {each[0]:6.1f} s  after {each[1]:6.1f} s  {resolved}", flush=True)
    print(f"{len(rows)} instances: resolved before {resolved[0]}, after {resolved[1]}; trees {making:.0f} s, runs {running:.0f} s")


main()
