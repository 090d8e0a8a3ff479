"""An issue without tests in a small repository, for scripts that time an agent's steps."""

import json
import os
import subprocess


def git(*words, cwd):
    plain = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    found = subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@x.x", *words], cwd=cwd,
                           env=os.environ | plain, check=True, capture_output=True, text=True)
    return found.stdout.strip()


def prepare(work, files):
    """Makes the repository with these files, the table of instances and the tests' settings."""
    repo = work / "repos/acme__small"
    repo.mkdir(parents=True)
    for name, text in files.items():
        (repo / name).write_text(text)
    git("init", "-q", cwd=repo)
    git("add", ".", cwd=repo)
    git("commit", "-qm", "x", cwd=repo)
    row = {"instance_id": "acme__small-1", "repo": "acme/small", "version": "1", "base_commit": git("rev-parse", "HEAD", cwd=repo),
           "problem_statement": "It.", "patch": "", "test_patch": "", "FAIL_TO_PASS": [], "PASS_TO_PASS": []}
    (work / "table.jsonl").write_text(json.dumps(row) + "\n")
    (work / "specs").mkdir()
    (work / "specs/small.toml").write_text(
        'repo = "acme/small"\nlog_parser = "django"\nlabels = { modules = "" }\ntests = []\n'
        'test = "python3 -m unittest"\n[[version]]\nversions = ["1"]\npython = "3.11"\n')
    return repo
