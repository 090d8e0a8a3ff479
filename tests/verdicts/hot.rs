//! The hot path of pytest and unittest: what ran, or was read, before the first test takes the
//! cold path, and both paths give the same verdict.

use std::collections::BTreeMap;
use std::path::Path;

use fixfly_benchmarks::{Item, Manifest, RunPath};
use fixfly_runtime::{Benchmark, Evaluator, Observation, Outcome, Split, find};
use tempfile::TempDir;

use crate::python::{fixture, methods, succeeds};

/// A benchmark of the project `early`.
fn built(framework: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("benchmark").display().to_string();
    let repository = fixture("early").display().to_string();
    let words = ["bench", "build", "python", "--repo", &repository, "-o", &output];
    let said = succeeds(&[&words[..], &["--tests", framework]].concat());
    assert!(said.contains("on the hot path ("), "{said}");
    folder
}

fn items(folder: &Path) -> Vec<Item> {
    Manifest::read(&folder.join("benchmark/manifest.jsonl")).unwrap().items
}

/// Methods of `Tool` by their path; and hot is cold, byte for byte, for every candidate.
#[track_caller]
fn check(framework: &str, hot: &[&str], cold: &[&str]) {
    let folder = built(framework);
    let items = items(folder.path());
    let paths: BTreeMap<&str, RunPath> = items
        .iter()
        .map(|item| (item.id.trim_start_matches("early.py::Tool."), item.path))
        .collect();
    for (names, path) in [(hot, RunPath::Hot), (cold, RunPath::Cold)] {
        for name in names {
            assert_eq!(paths.get(name), Some(&path), "{name}: {paths:?}");
        }
    }
    let benchmark = folder.path().join("benchmark").display().to_string();
    for split in Split::ALL {
        if items.iter().all(|item| item.split != split) {
            continue;
        }
        let words = ["bench", "verify", "python", "--benchmark-dir", &benchmark, "--both"];
        let said = succeeds(&[&words[..], &["--split", split.name()]].concat());
        for equal in ["equal verdicts", "equal reports"] {
            let line = said.lines().find(|line| line.contains(equal)).unwrap();
            let counts: Vec<&str> =
                line.split_whitespace().filter(|word| word.parse::<usize>().is_ok()).collect();
            assert_eq!(counts[0], counts[1], "{said}");
        }
    }
}

#[test]
fn what_ran_before_the_first_test_of_pytest_takes_the_cold_path() {
    check(
        "pytest",
        &[
            "in_session",
            "in_module",
            "copied",
            "plain",
            "steps",
            "waits",
            "held",
            "cached",
            "apart",
        ],
        &["at_import", "in_decorator", "in_cache", "in_collection", "begun", "kept"],
    );
}

#[test]
fn what_ran_before_the_first_test_of_unittest_takes_the_cold_path() {
    check(
        "unittest",
        &["copied", "plain", "steps", "waits", "held", "cached", "apart"],
        &["at_import", "in_decorator", "in_cache", "begun", "kept"],
    );
}

/// What a candidate for `Tool.plain` does instead.
const HOSTILE: &[&str] = &[
    "import os\nos._exit(0)",
    "import os\nfor pid in [os.getppid(), 1, -1]:\n    os.kill(pid, 9)\nreturn 0",
    "import unittest\nfor name in dir(unittest.TestCase):\n    if name.startswith('assert'):\n        \
     setattr(unittest.TestCase, name, lambda *parts, **named: None)\nreturn 0",
    // Lines of the server's own, on whatever is open.
    "import json, os\nrow = {'path': 'hot', 'outcome': 'passed', 'results': [], 'cpu': 0, 'wall': 0}\n\
     for fd in range(3, 1 << 10):\n    try:\n        os.write(fd, json.dumps(row).encode() + b'\\n')\n    \
     except OSError:\n        pass\nreturn 0",
    // The files that pytest captures in would be the next candidate's, too.
    "import os\nfor fd in range(3, 1 << 10):\n    for change in (os.ftruncate, os.lseek):\n        try:\n            \
     change(fd, *([1 << 20] if change is os.ftruncate else [99, 0]))\n        except OSError:\n            \
     pass\nreturn 0",
    // The objects of the process that the candidate was forked from.
    "import gc\nfor thing in gc.get_objects():\n    if type(thing).__name__ in ('Line', 'Zygote', 'Server'):\n        \
     vars(thing).clear()\nreturn 0",
    "import early\nearly.Tool.plain = lambda self: 12\nreturn 0",
];

#[track_caller]
fn withstands(framework: &str, test: &str) {
    let folder = built(framework);
    let all = items(folder.path());
    let item = all.iter().find(|item| item.id == "early.py::Tool.plain").unwrap();
    let benchmark = |path| {
        let tests = [test].into_iter().collect();
        let item = Item { path, tests, split: Split::Benchmark, ..item.clone() };
        methods(&folder.path().join("benchmark"), framework, item)
    };
    let (hot, cold) = (benchmark(RunPath::Hot), benchmark(RunPath::Cold));
    let host = (find("sandbox", fixfly_sandboxes::ALL, "local").unwrap().open)(
        &fixfly_sandboxes::HostOptions::default(),
    )
    .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let task = hot.tasks(Split::Benchmark).await.unwrap().remove(0);
        let sandbox = host.open(&task.sandbox).await.unwrap();
        let honest = "def plain(self):\n    return 12\n";
        for body in HOSTILE {
            let hostile = format!("def plain(self):\n    {}\n", body.replace('\n', "\n    "));
            let seen: Observation = hot.evaluate(&task, &hostile, &*sandbox).await.unwrap();
            assert_ne!(seen.outcome, Outcome::Passed, "{body}\n{}", seen.text);
            let reference = cold.evaluate(&task, &hostile, &*sandbox).await.unwrap();
            assert_eq!(seen, reference, "{body}");
            let after = hot.evaluate(&task, honest, &*sandbox).await.unwrap();
            assert_eq!(after.outcome, Outcome::Passed, "after {body}\n{}", after.text);
        }
        sandbox.close().await.unwrap();
    });
}

#[test]
fn no_candidate_reaches_the_process_it_was_forked_from_with_pytest() {
    withstands("pytest", "tests/test_early.py::Early::test_plain");
}

#[test]
fn no_candidate_reaches_the_process_it_was_forked_from_with_unittest() {
    withstands("unittest", "test_early.Early.test_plain");
}
