//! Every way in which a test can end, through the real test server: what pytest and unittest
//! say of a test is what fixfly says, and no text of a candidate is taken for a fault of the
//! machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixfly_benchmarks::{Item, RunPath, Tests, source};
use fixfly_runtime::{
    Benchmark, DescribedBy, Evaluator, Observation, Split, TestOutcome, TestResult, find, sha256,
};
use tempfile::TempDir;

use crate::python::{built, fixture, methods};
use TestOutcome::{
    Crashed, Errored, Exited, ExpectedFailure, Failed, NotRun, Passed, Skipped, UnexpectedSuccess,
};

/// How a test is expected to end: its outcome, the exception, a part of its message, the
/// number of frames, and a part of what it printed.
type End<'a> = (&'a str, TestOutcome, &'a str, &'a str, usize, &'a str);

const PYTEST: &[End<'_>] = &[
    ("test_passes", Passed, "", "", 0, ""),
    ("test_asserts", Failed, "AssertionError", "assert 3 == 8", 1, "printed by the test\n"),
    ("test_raises_in_a_helper", Failed, "KeyError", "'missing'", 2, "not UTF-8: \u{fffd}"),
    // The whole diff, not its first lines.
    ("test_compares_long_texts", Failed, "AssertionError", "- the last line", 1, ""),
    ("test_chained", Failed, "ValueError", "from the helper", 3, ""),
    ("test_several_at_once", Failed, "ExceptionGroup", "several (2 sub-exceptions)", 1, ""),
    ("test_recursion", Failed, "RecursionError", "maximum recursion depth", 4, ""),
    ("test_exits", Failed, "SystemExit", "0", 1, ""),
    ("test_evaluates_wrong_syntax", Failed, "SyntaxError", "invalid syntax", 2, ""),
    ("test_fails_by_word", Failed, "Failed", "by word", 1, ""),
    ("test_expects_an_exception", Failed, "Failed", "DID NOT RAISE", 1, ""),
    ("test_logs", Failed, "AssertionError", "Left contains one more item", 1, "logged by the test"),
    ("test_captures", Failed, "AssertionError", "assert False", 1, "captured by the fixture\n"),
    ("test_warns", Failed, "UserWarning", "now an error", 1, ""),
    ("test_has_no_text", Failed, "test_functions.Silent", "raised SystemExit", 1, ""),
    // pytest itself stumbles over this one.
    ("test_lies_of_itself", Failed, "ZeroDivisionError", "division by zero", 2, ""),
    ("test_raises_hostile_text", Failed, "ValueError", "\\udcff, nothing \0, red \u{1b}", 1, ""),
    ("test_has_a_long_message", Failed, "ValueError", "characters left out", 1, ""),
    ("test_skips", Skipped, "", "", 0, ""),
    ("test_fails_as_expected", ExpectedFailure, "", "", 0, ""),
    ("test_passes_against_expectation", UnexpectedSuccess, "", "", 0, ""),
    ("test_passes_against_strict_expectation", Failed, "Failed", "[XPASS(strict)] it never", 0, ""),
    (
        "test_asks_for_no_fixture",
        Errored,
        "_pytest.fixtures.FixtureLookupError",
        "fixture 'nothing_of_this_name' not found",
        0,
        "",
    ),
    ("test_breaks_before", Errored, "AssertionError", "before the test", 1, ""),
    ("test_breaks_after", Errored, "OSError", "after the test", 1, ""),
    ("test_fails_and_breaks_after", Failed, "KeyError", "'in the test'", 1, ""),
    ("TestOfAClass::test_first", Errored, "RuntimeError", "before the class", 1, ""),
    ("TestOfAClass::test_second", Errored, "RuntimeError", "before the class", 1, ""),
    ("test_skips_a_part", Passed, "", "", 0, ""),
    ("test_fails_in_a_part", Failed, "AssertionError", "assert 3 == (0 + 2)", 1, "by part 0\n"),
    ("test_has_a_part_that_is_to_fail", Passed, "", "", 0, ""),
];

const PYTEST_CLASSES: &[End<'_>] = &[
    ("Parts::test_skips_a_part", Passed, "", "", 0, ""),
    ("Parts::test_fails_in_a_part", Failed, "AssertionError", "3 != 2", 1, ""),
    ("Parts::test_skips_a_part_and_fails", Failed, "KeyError", "'after the part'", 1, ""),
    ("Parts::test_skips", Skipped, "", "", 0, ""),
    ("Parts::test_fails_as_expected", ExpectedFailure, "", "", 0, ""),
    ("Later::test_passes", Passed, "", "", 0, ""),
    ("Later::test_fails", Failed, "AssertionError", "3 != 4", 1, ""),
    ("Before::test_first", Errored, "RuntimeError", "before the class", 1, ""),
    ("Without::test_first", Skipped, "", "", 0, ""),
    ("After::test_first", Errored, "RuntimeError", "after the class", 1, ""),
];

const UNITTEST: &[End<'_>] = &[
    ("Parts.test_skips_a_part", Passed, "", "", 0, ""),
    ("Parts.test_fails_in_a_part", Failed, "AssertionError", "3 != 2", 1, ""),
    ("Parts.test_skips_a_part_and_fails", Errored, "KeyError", "'after the part'", 1, ""),
    ("Parts.test_skips", Skipped, "", "", 0, ""),
    ("Parts.test_fails_as_expected", ExpectedFailure, "", "", 0, ""),
    ("Later.test_passes", Passed, "", "", 0, ""),
    ("Later.test_fails", Failed, "AssertionError", "3 != 4", 1, ""),
    ("Before.test_first", Errored, "RuntimeError", "before the class", 1, ""),
    ("Without.test_first", Skipped, "", "", 0, ""),
    ("After.test_first", Errored, "RuntimeError", "after the class", 1, ""),
];

/// The project of `outcomes` with the environment of another.
fn project() -> TempDir {
    let (ledger, _) = built();
    let folder = TempDir::new().unwrap();
    let copy = |from: PathBuf, to: &str| {
        let to = folder.path().join(to);
        assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
    };
    copy(fixture("outcomes"), "source");
    copy(ledger.join("venv"), "venv");
    folder
}

/// What is observed of a candidate for `Shop.price`, by each path.
fn observe(
    folder: &Path,
    framework: &str,
    candidate: Option<&str>,
    tests: &[String],
    paths: &[RunPath],
) -> Vec<Observation> {
    let file = "shop.py";
    let text = fs::read_to_string(folder.join("source").join(file)).unwrap();
    let all = source::methods(&text).unwrap();
    let method = all.iter().find(|method| method.qualname == "Shop.price").unwrap();
    let item = Item {
        id: format!("{file}::Shop.price"),
        split: Split::Benchmark,
        spans: vec![[method.span.start, method.span.end]],
        hash: sha256(&text[method.span.clone()])[..16].to_string(),
        path: RunPath::Cold,
        tests: tests.iter().collect(),
        wider: Tests::default(),
        seconds: 5.0,
        described_by: DescribedBy::Nothing,
        lines: method.body_lines,
        mutants: [1, 1],
        copies: Vec::new(),
    };
    let benchmark = |path| methods(folder, framework, Item { path, ..item.clone() });
    let candidate = candidate.map_or_else(
        || source::source_of(&text, method),
        |body| format!("def price(self, name):\n    {}\n", body.replace('\n', "\n    ")),
    );
    let host = (find("sandbox", fixfly_sandboxes::ALL, "local").unwrap().open)(
        &fixfly_sandboxes::HostOptions::default(),
    )
    .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut seen = Vec::new();
        for path in paths {
            let benchmark = benchmark(*path);
            let task = benchmark.tasks(Split::Benchmark).await.unwrap().remove(0);
            let sandbox = host.open(&task.sandbox).await.unwrap();
            seen.push(benchmark.evaluate(&task, &candidate, &*sandbox).await.unwrap());
            sandbox.close().await.unwrap();
        }
        seen
    })
}

/// How a result differs from what is expected, if it does.
fn fault(result: &TestResult, expected: &End<'_>) -> Option<String> {
    let (_, outcome, exception, message, frames, output) = expected;
    let failure = result.failure.as_ref();
    let is_right = result.outcome == *outcome
        && failure.map_or("", |failure| &failure.exception) == *exception
        && failure.is_none_or(|failure| {
            failure.message.contains(message)
                && failure.traceback.matches("  File \"").count() == *frames
                && failure.output.contains(output)
        });
    (!is_right).then(|| format!("{expected:?}\n{result:#?}"))
}

#[track_caller]
fn check(framework: &str, module: &str, joint: &str, table: &[End<'_>]) {
    let folder = project();
    let ids: Vec<String> = table.iter().map(|end| format!("{module}{joint}{}", end.0)).collect();
    let paths = [RunPath::Cold, RunPath::Cold, RunPath::Hot];
    let seen = observe(folder.path(), framework, None, &ids, &paths);
    assert_eq!(seen[0], seen[1], "the same tests read differently");
    assert_eq!(seen[0], seen[2], "the same tests read differently on the hot path");
    let results = &seen[0].tests.as_ref().unwrap().results;
    assert_eq!(results.len(), table.len());
    let end = |result: &TestResult| {
        let name = result.id.strip_prefix(&format!("{module}{joint}")).unwrap();
        *table.iter().find(|end| end.0 == name).unwrap()
    };
    let faults: Vec<String> =
        results.iter().filter_map(|result| fault(result, &end(result))).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_test_is_reported_as_pytest_reports_it() {
    check("pytest", "tests/test_functions.py", "::", PYTEST);
}

#[test]
fn a_test_of_unittest_is_reported_as_pytest_reports_it() {
    check("pytest", "tests/test_classes.py", "::", PYTEST_CLASSES);
}

#[test]
fn a_test_is_reported_as_unittest_reports_it() {
    check("unittest", "test_classes", ".", UNITTEST);
}

/// A candidate's body, the outcome of a test that calls it, and parts of what is observed.
type Hostile<'a> = (&'a str, TestOutcome, &'a [&'a str]);

/// The server's own lines, and lines that are none, on every descriptor.
const FORGED: &str = r#"import json, os
rows = [{"event": "broken", "why": "x"}, {"event": "unsure", "why": "x"}, {"event": "failed", "id": ["a"]},
        {"event": "errored", "failure": 7}, {"event": "failed", "failure": {"message": ["\udcff"]}}, 7]
lines = [json.dumps(row).encode() for row in rows] + [b"[" * 100000, b"\xff\0"]
for fd in range(1 << 10):
    for line in lines:
        try:
            os.write(fd, line + b"\n")
        except OSError:
            break
os._exit(0)"#;

const HOSTILE: &[Hostile<'_>] = &[
    (r"raise ValueError('\udcff')", Failed, &[r"ValueError: \udcff"]),
    (
        r"raise ValueError('\0 and \x1b]52;c;x\a')",
        Failed,
        &[r"ValueError: \x00 and \x1b]52;c;x\x07"],
    ),
    ("raise ValueError('x' * (10 << 20))", Failed, &["characters left out"]),
    ("raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})", Failed, &["E: <"]),
    (r"raise type('E', (Exception,), {'__module__': '\ud800'})", Failed, &[r"\ud800.E"]),
    (
        "import os\nos.write(1, b'\\xff\\0\\x1b[31m')\nraise KeyError(name)",
        Failed,
        &["KeyError: 'tea'"],
    ),
    ("print('\\ud800')\nraise KeyError(name)", Failed, &["Error: "]),
    ("raise ExceptionGroup('\\udcff', [ValueError('\\udcfe')])", Failed, &["\\udcff", "\\udcfe"]),
    ("return self.price(name)", Failed, &["RecursionError"]),
    ("raise SystemExit('\\udcff')", Failed, &["SystemExit: \\udcff"]),
    ("import os\nos._exit(0)", Exited, &["EXITED"]),
    ("raise KeyboardInterrupt", Errored, &["KeyboardInterrupt"]),
    (FORGED, Exited, &["EXITED"]),
];

#[track_caller]
fn withstands(framework: &str, test: &str, after: &str, table: &[Hostile<'_>]) {
    let folder = project();
    let tests = [test.to_string(), after.to_string()];
    for (body, outcome, texts) in table {
        let paths = [RunPath::Cold, RunPath::Hot];
        let mut seen = observe(folder.path(), framework, Some(body), &tests, &paths);
        assert_eq!(seen[0], seen[1], "{body}: the paths differ");
        let seen = seen.remove(0);
        let results = &seen.tests.as_ref().unwrap().results;
        let result = results.iter().find(|result| result.id == test).unwrap();
        // unittest counts what is no assertion as an error.
        let errors = framework == "unittest" && *outcome == Failed;
        let outcome = if errors { Errored } else { *outcome };
        assert_eq!(result.outcome, outcome, "{body}\n{}", seen.text);
        for text in *texts {
            assert!(seen.text.contains(text), "{body}: {text}\n{}", seen.text);
        }
        let is_safe = |c: char| !c.is_control() || c == '\n' || c == '\t';
        assert!(seen.text.chars().all(is_safe), "{body}\n{:?}", seen.text);
        if [Exited, Errored].contains(&outcome) && !errors {
            let later = results.iter().find(|result| result.id == after).unwrap();
            assert_eq!(later.outcome, NotRun, "{body}");
        }
    }
}

#[test]
fn no_text_of_a_candidate_is_a_fault_of_the_machine_with_pytest() {
    let tests = "tests/test_functions.py::";
    withstands(
        "pytest",
        &format!("{tests}test_passes"),
        &format!("{tests}test_skips_a_part"),
        HOSTILE,
    );
    // Only the test's own skip leaves a test that passes a pass.
    let part = format!("{tests}test_skips_a_part");
    let bodies: &[Hostile<'_>] = &[
        ("import pytest\npytest.skip('so that it passes')", Skipped, &["SKIPPED"]),
        ("import pytest\npytest.xfail('so that it passes')", ExpectedFailure, &["AS EXPECTED"]),
        ("import pytest\npytest.exit('bye')", Errored, &["Exit: bye"]),
    ];
    withstands("pytest", &part, &format!("{tests}test_has_a_part_that_is_to_fail"), bodies);
}

#[test]
fn no_text_of_a_candidate_is_a_fault_of_the_machine_with_unittest() {
    let first = "test_classes.Later.test_passes";
    let after = "test_classes.Parts.test_fails_in_a_part";
    withstands("unittest", first, after, HOSTILE);
    let skip = "import unittest\nraise unittest.SkipTest('so that it passes')";
    let part = "test_classes.Parts.test_skips_a_part";
    withstands("unittest", part, after, &[(skip, Skipped, &["SKIPPED"])]);
}

#[test]
fn a_process_that_ends_leaves_the_tests_of_other_files_on_either_path() {
    let folder = project();
    let tests = ["test_functions.py::test_passes", "test_classes.py::Later::test_passes"];
    let tests = tests.map(|test| format!("tests/{test}"));
    for (body, outcome) in [("import os\nos._exit(0)", Exited), ("import os\nos.abort()", Crashed)]
    {
        let paths = [RunPath::Cold, RunPath::Hot];
        let seen = observe(folder.path(), "pytest", Some(body), &tests, &paths);
        assert_eq!(seen[0], seen[1], "{body}");
        let outcomes = seen[0].tests.as_ref().unwrap().results.iter().map(|result| result.outcome);
        assert_eq!(outcomes.collect::<Vec<_>>(), [outcome, NotRun], "{body}");
    }
}

/// Runs a script of ours on the server's files.
#[track_caller]
fn holds(script: &str, more: &[&str]) {
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("benchmarks/server");
    let output =
        Command::new("python3").arg(fixture(script)).arg(server).args(more).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_swapped_function_does_what_the_candidate_s_module_does() {
    holds("swaps.py", &[]);
}

#[test]
fn what_takes_over_provably_does_what_the_candidate_s_module_does() {
    holds("takes_over.py", &[]);
}

#[test]
fn forks_share_no_open_files_and_no_chance() {
    holds("shares.py", &[]);
}

#[test]
fn no_rows_that_a_candidate_writes_break_a_verdict() {
    holds("rows.py", &["20000"]);
}
