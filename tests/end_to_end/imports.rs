//! `fixfly bench import`, on sets written here in the forms of the published ones.

use std::fs;
use std::path::Path;

use fixfly_runtime::read_episodes;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{command, printed, refused, runs};

/// A row in the form of HumanEvalFix.
fn row(id: u32, entry: &str, prompt: &str, [correct, faulty]: [&str; 2], tests: &[&str]) -> Value {
    let tests: String = tests.iter().map(|test| format!("    {test}\n")).collect();
    json!({
        "task_id": format!("Python/{id}"),
        "prompt": prompt,
        "declaration": prompt,
        "canonical_solution": correct,
        "buggy_solution": faulty,
        "bug_type": "operator misuse",
        "failure_symptoms": "incorrect output",
        "entry_point": entry,
        "import": "",
        "test_setup": "",
        "test": format!("\n\n\n\n\ndef check({entry}):\n{tests}\ncheck({entry})"),
        "example_test": "",
        "signature": "",
        "docstring": "",
        "instruction": "",
    })
}

/// Three tasks, of which one needs a helper and one never ends, and three rows that are none.
fn rows() -> Vec<Value> {
    let shelf = "from typing import List\n\n\ndef width(book: str) -> int:\n    return len(book) + 1\n\n\ndef shelf(books: List[str]) -> int:\n    \"\"\" The width of all books, beside each other.\n    >>> shelf(['ab', 'c'])\n    5\n    \"\"\"\n";
    let countdown =
        "def countdown(start: int) -> list:\n    \"\"\"Count from start to one.\"\"\"\n";
    let counted = "    counts = []\n    while start > 0:\n        counts.append(start)\n        start -= 1\n    return counts\n";
    let half = "def half(number):\n    \"\"\"Half of a number.\"\"\"\n";
    let halves = ["    return number / 2\n", "    return number // 2\n"];
    vec![
        row(
            0,
            "shelf",
            shelf,
            [
                "    return sum(width(book) for book in books)\n",
                "    return sum(width(book) for book in books[1:])\n",
            ],
            &["assert shelf([]) == 0", "assert shelf(['ab', 'c']) == 5"],
        ),
        row(
            1,
            "countdown",
            countdown,
            [counted, &counted.replace("start -= 1", "start = abs(start)")],
            &["assert countdown(3) == [3, 2, 1]"],
        ),
        row(2, "half", half, halves, &["assert half(4) == 2", "assert half(3) == 1.5"]),
        row(3, "half", half, halves, &["assert half(4) == 2"]),
        row(4, "half", half, halves, &["assert half(3) == 2"]),
        row(5, "half", half, [halves[0], halves[0]], &["assert half(3) == 1.5"]),
    ]
}

/// A folder with the set, and the benchmark made of it.
fn imported() -> (TempDir, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let word = |name: &str| folder.path().join(name).display().to_string();
    let (set, made) = (word("set.jsonl"), word("made"));
    let text: String = rows().iter().map(|row| format!("{row}\n")).collect();
    fs::write(&set, text).unwrap();
    let output = printed(&["bench", "import", &set, "-o", &made]).replace(&made, "[MADE]");
    (folder, made, output)
}

#[test]
fn rows_whose_tests_decide_become_tasks_and_the_others_are_named() {
    let (_folder, made, output) = imported();
    insta::assert_snapshot!(output, @r"
    Benchmark directory: [MADE]
      benchmark      3 faults caught by tests, 1.7 tests each
      left out:     1  it has no fault: Python/5
      left out:     1  its correct program fails its tests: Python/4
      left out:     1  no test catches its fault: Python/3
      why: [MADE]/left-out.jsonl
    ");
    let why = fs::read_to_string(Path::new(&made).join("left-out.jsonl")).unwrap();
    assert!(why.contains("assert half(3) == 2"), "{why}");
    let faults = fs::read_to_string(Path::new(&made).join("faults.jsonl")).unwrap();
    let first: Value = serde_json::from_str(faults.lines().nth(1).unwrap()).unwrap();
    let given = json!({"task_id": "Python/0", "bug_type": "operator misuse"});
    assert_eq!((&first["kind"], &first["given"]), (&"given".into(), &given));
}

#[test]
#[ignore = "needs functions"]
fn the_oracle_fixes_every_imported_fault_and_null_none() {
    let (folder, made, _) = imported();
    // A benchmark directory may be moved.
    let moved = folder.path().join("moved").display().to_string();
    fs::rename(&made, &moved).unwrap();
    let run = |benchmark: &str, policy: &str| {
        let run = folder.path().join(format!("{benchmark}-{policy}"));
        let words = ["run", benchmark, "--benchmark-dir", &moved, "--policy", policy];
        let more = ["--turns", "1", "-o", run.to_str().unwrap()];
        runs::ended_well(command(&[&words[..], &more].concat()));
        read_episodes(&run).unwrap()
    };
    let fixed = run("faults", "oracle");
    assert_eq!(fixed.len(), 3);
    assert!(fixed.iter().all(|episode| episode.solved()), "{fixed:?}");
    assert!(run("faults", "null").iter().all(|episode| !episode.solved()));
    // The same directory is a benchmark of functions to write.
    assert!(run("python", "oracle").iter().all(|episode| episode.solved()));
    let named = |name: &str| {
        let episode = fixed.iter().find(|episode| episode.task.id.contains(name)).unwrap();
        episode.task.statement.method().unwrap().clone()
    };
    // What the function calls is shown; a module that has nothing else is not.
    let shelf = named("::shelf#");
    assert!(shelf.faulty.as_ref().unwrap().contains("books[1:]"), "{shelf:?}");
    assert!(shelf.content.contains("def width(book: str)"), "{shelf:?}");
    assert!(!shelf.content.contains("def shelf"), "{shelf:?}");
    assert_eq!(named("::half#").content, "");
    // A faulty program that was changed is refused.
    let faulty = Path::new(&moved).join("faulty/humaneval/python_002.py");
    fs::write(&faulty, "def half(number):\n    return 0\n").unwrap();
    let words = ["run", "faults", "--benchmark-dir", &moved, "--policy", "null"];
    let (_, why) = refused(&[&words[..], &["-o", &format!("{moved}/x")]].concat());
    let expected = "python_002.py: `half` is not the faulty function of the manifest; run \
                    `fixfly bench import` again";
    assert!(why.ends_with(expected), "{why}");
}

#[test]
fn a_folder_of_quixbugs_without_pytest_files_needs_no_pytest() {
    let folder = tempfile::tempdir().unwrap();
    let word = |name: &str| folder.path().join(name).display().to_string();
    let files = [
        (
            "correct_python_programs/pairs.py",
            "def pairs(a):\n    for one in a:\n        yield one, a[one]\n",
        ),
        (
            "python_programs/pairs.py",
            "def pairs(a):\n    for one in a:\n        yield a[one], one\n\n\n\"\"\"\nPairs of keys and values.\n\"\"\"\n",
        ),
        ("json_testcases/pairs.json", "[[{}], []]\n[[{\"x\": 1}], [[\"x\", 1]]]\n"),
    ];
    for (file, text) in files {
        let path = folder.path().join("set").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let made = word("made");
    let words = ["bench", "import", &word("set"), "-o", &made, "--split", "train"];
    insta::assert_snapshot!(printed(&words).replace(&made, "[MADE]"), @r"
    Benchmark directory: [MADE]
      train          1 faults caught by tests, 2.0 tests each
    ");
    let manifest = fs::read_to_string(Path::new(&made).join("manifest.jsonl")).unwrap();
    assert!(manifest.contains("\"framework\":\"unittest\""), "{manifest}");
    assert!(
        manifest.contains("\"id\":\"python_programs/pairs.py::pairs\",\"split\":\"train\""),
        "{manifest}"
    );
}

#[test]
fn a_set_that_cannot_be_read_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set.jsonl");
    let check = |text: &str, output: &str, expected: &str| {
        fs::write(&set, text).unwrap();
        let output = folder.path().join(output);
        let words = ["bench", "import", set.to_str().unwrap(), "-o", output.to_str().unwrap()];
        let (code, why) = refused(&words);
        let why = why.replace(&folder.path().display().to_string(), "F");
        assert_eq!((code, &*why), (1, expected));
    };
    let mut row = rows().swap_remove(2);
    let whole = row.to_string();
    let thrice = "F/set.jsonl:2: the column `task_id` is `Python/2`, as before (`1`); each row \
                  needs a `task_id` of its own";
    check(&format!("{whole}\n{whole}\n"), "x", thrice);
    let exists = "F/set.jsonl exists; name a new or an empty folder with -o, or delete it";
    check(&whole, "set.jsonl", exists);
    row.as_object_mut().unwrap().remove("test");
    check(&row.to_string(), "x", "F/set.jsonl:1: the column `test` is missing");
    check("", "x", "F/set.jsonl has no rows");
    assert!(!folder.path().join("x").exists());
}
