use std::fmt::Write as _;

use fixfly_runtime::Outcome;
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// Two rows in the form of HumanEvalFix, and one that is no task.
fn set() -> TempDir {
    let row = |id: &str, entry: &str, [correct, faulty]: [&str; 2], test: &str| {
        json!({
            "task_id": id,
            "prompt": format!("def {entry}(number):\n    \"\"\"About {entry}.\"\"\"\n"),
            "canonical_solution": format!("    return {correct}\n"),
            "buggy_solution": format!("    return {faulty}\n"),
            "bug_type": "operator misuse",
            "entry_point": entry,
            "test": format!("def check(candidate):\n    {test}\n\ncheck({entry})"),
        })
    };
    let rows = [
        row("Python/0", "half", ["number / 2", "number // 2"], "assert candidate(3) == 1.5"),
        row("Python/1", "twice", ["number * 2", "number + 2"], "assert candidate(3) == 6"),
        row("Python/2", "same", ["number", "number"], "assert candidate(3) == 3"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(folder.path().join("set.jsonl"), text).unwrap();
    folder
}

fn open(folder: &TempDir) -> Result<Import, BenchmarkError> {
    let at = |name: &str| folder.path().join(name);
    Import::open(&at("set.jsonl"), &at("made"), Split::Benchmark)
}

/// Each file below a folder, with its text.
fn files(folder: &Path) -> String {
    let (mut folders, mut files) = (vec![folder.to_path_buf()], Vec::new());
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let mut text = String::new();
    for file in files {
        let name = file.strip_prefix(folder).unwrap().display();
        write!(text, "--- {name}\n{}", fs::read_to_string(&file).unwrap()).unwrap();
    }
    text
}

#[test]
fn the_project_has_the_correct_programs_their_tests_and_beside_them_the_faults() {
    let folder = set();
    let import = open(&folder).unwrap();
    assert_eq!(import.programs(), 2);
    let made = folder.path().join("made");
    fs::remove_file(made.join("import.json")).unwrap();
    insta::assert_snapshot!(files(&made));
}

#[test]
fn the_manifests_have_facts_and_no_text() {
    let folder = set();
    let import = open(&folder).unwrap();
    let facts = |name: &str| {
        let tests = vec![format!("tests.test_{name}.Test.test_1")];
        Facts { tests, seconds: 0.25 }
    };
    let facts = BTreeMap::from([
        ("Python/0".to_string(), facts("python_000")),
        ("Python/1".to_string(), facts("python_001")),
    ]);
    let imported = import.write(&facts, import.set.left_out.clone()).unwrap();
    let made = folder.path().join("made");
    let manifests = ["manifest.jsonl", "faults.jsonl", "left-out.jsonl"]
        .map(|name| format!("--- {name}\n{}", fs::read_to_string(made.join(name)).unwrap()));
    insta::assert_snapshot!(manifests.concat());
    let text = imported.text().replace(&made.display().to_string(), "[MADE]");
    insta::assert_snapshot!(text, @r"
    Benchmark directory: [MADE]
      benchmark      2 faults caught by tests, 1.0 tests each
      left out:     1  it has no fault: Python/2
      why: [MADE]/left-out.jsonl
    ");
}

#[test]
fn a_set_without_a_task_is_an_error_with_the_first_reason() {
    let folder = set();
    let import = open(&folder).unwrap();
    let left_out = vec![LeftOut::new("Python/0", "no test catches its fault", "it passes 1 tests")];
    let why = import.write(&BTreeMap::new(), left_out).unwrap_err().to_string();
    let expected = "none of the 1 programs of humanevalfix can be a task; of Python/0, no test \
                    catches its fault: it passes 1 tests";
    assert_eq!(why, expected);
}

#[test]
fn another_folder_is_never_written_to() {
    let folder = set();
    let made = folder.path().join("made");
    let exists = || {
        let why = open(&folder).map(|_| ()).unwrap_err().to_string();
        let expected = "made exists; name a new or an empty folder with -o, or delete it";
        assert!(why.ends_with(expected), "{why}");
    };
    fs::create_dir(&made).unwrap();
    open(&folder).unwrap();
    // A stopped import goes on; a finished one is not done again.
    open(&folder).unwrap();
    fs::write(made.join("faults.jsonl"), "").unwrap();
    exists();
    fs::remove_dir_all(&made).unwrap();
    fs::create_dir(&made).unwrap();
    fs::write(made.join("thesis.tex"), "x").unwrap();
    exists();
    fs::remove_dir_all(&made).unwrap();
    fs::write(&made, "x").unwrap();
    exists();
}

#[test]
fn a_folder_of_no_known_set_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let check = |expected: &str| {
        let why = read(folder.path()).unwrap_err().to_string();
        let why = why.replace(&folder.path().display().to_string(), "SET");
        assert!(why.starts_with(expected), "{why}");
    };
    check("SET is an empty folder; name a file of HumanEvalFix or a folder of QuixBugs");
    fs::create_dir(folder.path().join("python_programs")).unwrap();
    check("SET is no set that fixfly can import: a folder of QuixBugs has python_programs and");
    fs::create_dir(folder.path().join("correct_python_programs")).unwrap();
    check("SET has no program with tests: for each python_programs/NAME.py there has to be");
    let missing = folder.path().join("no.jsonl");
    let why = read(&missing).unwrap_err().to_string();
    assert!(
        why.ends_with("no.jsonl cannot be read: No such file or directory (os error 2)"),
        "{why}"
    );
}

#[test]
fn a_fault_counts_if_its_tests_end_in_any_bad_way() {
    #[track_caller]
    fn check(outcome: Outcome, expected: Option<&str>) {
        assert_eq!(check::why_not(outcome).map(|(reason, _)| reason), expected, "{outcome:?}");
    }
    for bad in [Outcome::Failed, Outcome::TimedOut, Outcome::Crashed, Outcome::OutOfMemory] {
        check(bad, None);
    }
    check(Outcome::Exited, None);
    check(Outcome::Passed, Some("no test catches its fault"));
    check(Outcome::Tampered, Some("its tests cannot judge its fault"));
    check(Outcome::Invalid, Some("its tests cannot judge its fault"));
}
