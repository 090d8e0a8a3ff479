//! QuixBugs: folders of faulty programs, correct programs, and their tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use fixfly_runtime::{BenchmarkError, parse_json, read_text};
use serde_json::Value;

use super::cases;
use super::set::{LeftOut, Program, Set, unix};

const FAULTY: &str = "python_programs";
const CORRECT: &str = "correct_python_programs";
const JSON: &str = "json_testcases";
const PYTEST: &str = "python_testcases";

/// What the set's own `conftest.py` sets, without its flags.
const CONFTEST: &str = "import pytest\n\npytest.use_correct = False\npytest.run_slow = False\n";

/// Whether a folder is one of the set.
pub(super) fn is_set(folder: &Path) -> bool {
    folder.join(FAULTY).is_dir() && folder.join(CORRECT).is_dir()
}

/// Reads the folder of a set.
///
/// # Errors
/// One sentence that names the file and the line.
pub(super) fn read(folder: &Path) -> Result<Set, BenchmarkError> {
    let (names, helpers) = names(folder)?;
    let mut set = Set {
        name: "quixbugs",
        framework: "unittest",
        programs: Vec::new(),
        left_out: Vec::new(),
        files: helpers,
    };
    for name in &names {
        match program(folder, name, &mut set.files)? {
            Ok(program) => set.programs.push(program),
            Err(left_out) => set.left_out.push(left_out),
        }
    }
    let is_pytest = |program: &Program| program.tests.starts_with(PYTEST);
    if set.programs.iter().any(is_pytest) {
        set.framework = "pytest";
        set.files.insert("conftest.py".to_string(), CONFTEST.to_string());
        for name in python_files(&folder.join(PYTEST))? {
            if !name.starts_with("test_") {
                let file = format!("{PYTEST}/{name}.py");
                set.files.insert(file.clone(), text(folder, &file)?);
            }
        }
    }
    if set.programs.iter().any(|program| !is_pytest(program)) {
        set.files.insert("tests/__init__.py".to_string(), String::new());
    }
    Ok(set)
}

/// The names of the programs, and the modules that they import.
fn names(folder: &Path) -> Result<(Vec<String>, BTreeMap<String, String>), BenchmarkError> {
    let correct: BTreeSet<String> = python_files(&folder.join(CORRECT))?.into_iter().collect();
    let (mut names, mut helpers) = (Vec::new(), BTreeMap::new());
    for name in python_files(&folder.join(FAULTY))? {
        // The folders also have scripts that call the programs.
        if name.ends_with("_test") || name.starts_with("test_") {
            continue;
        }
        let is_tested = [json_file(&name), pytest_file(&name)];
        if is_tested.iter().any(|file| folder.join(file).is_file()) {
            names.push(name);
        } else if correct.contains(&name) {
            let text = text(folder, &format!("{FAULTY}/{name}.py"))?;
            helpers.insert(format!("{FAULTY}/{name}.py"), text);
        }
    }
    match names.is_empty() {
        true => Err(BenchmarkError::Broken(format!(
            "{} has no program with tests: for each {FAULTY}/NAME.py there has to be \
             {JSON}/NAME.json or {PYTEST}/test_NAME.py",
            folder.display()
        ))),
        false => Ok((names, helpers)),
    }
}

/// The modules of a folder, sorted. A folder that is not there has none.
fn python_files(folder: &Path) -> Result<Vec<String>, BenchmarkError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let broken =
        |why| BenchmarkError::Broken(format!("{} cannot be read: {why}", folder.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(broken)? {
        let name = entry.map_err(broken)?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".py").map(str::to_string));
    }
    names.retain(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'));
    names.sort();
    Ok(names)
}

fn json_file(name: &str) -> String {
    format!("{JSON}/{name}.json")
}

fn pytest_file(name: &str) -> String {
    format!("{PYTEST}/test_{name}.py")
}

fn text(folder: &Path, file: &str) -> Result<String, BenchmarkError> {
    let path = folder.join(file);
    let text = read_text(&path).map_err(|why| {
        BenchmarkError::Broken(format!("{} cannot be read: {why}", path.display()))
    })?;
    Ok(unix(&text))
}

/// A program, or why it is no task. Its tests go to `files`.
fn program(
    folder: &Path,
    name: &str,
    files: &mut BTreeMap<String, String>,
) -> Result<Result<Program, LeftOut>, BenchmarkError> {
    let file = format!("{FAULTY}/{name}.py");
    let faulty = text(folder, &file)?;
    if !folder.join(CORRECT).join(format!("{name}.py")).is_file() {
        let why = format!("there is no {CORRECT}/{name}.py");
        return Ok(Err(LeftOut::new(name, "it has no correct program", why)));
    }
    let correct = text(folder, &format!("{CORRECT}/{name}.py"))?;
    let json = match folder.join(json_file(name)).is_file() {
        true => Some(text(folder, &json_file(name))?),
        false => None,
    };
    let cases = json.as_deref().map_or(Ok(0), |json| count(folder, &json_file(name), json))?;
    let has_pytest = folder.join(pytest_file(name)).is_file();
    let tests = match has_pytest {
        true => pytest_file(name),
        false => format!("tests/test_{name}.py"),
    };
    let program = Program {
        task_id: name.to_string(),
        bug_type: None,
        file,
        function: name.to_string(),
        correct,
        faulty,
        tests: tests.clone(),
    };
    let program = match program.paired() {
        Ok(program) => program,
        Err(left_out) => return Ok(Err(left_out)),
    };
    let module = format!("{FAULTY}.{name}");
    let text = match has_pytest {
        true => text(folder, &tests)?,
        false => cases::of_json(&module, name, &json_file(name), cases),
    };
    files.insert(tests, text);
    files.extend(json.map(|json| (json_file(name), json)));
    Ok(Ok(program))
}

/// The number of cases in the text of a JSON file: one in each line.
fn count(folder: &Path, file: &str, text: &str) -> Result<usize, BenchmarkError> {
    for (at, line) in text.lines().enumerate() {
        let broken = |column: usize, why: String| {
            let place = format!("{}:{}:{column}", folder.join(file).display(), at + 1);
            let form = "a line is one JSON array, `[[ARGUMENT, …], EXPECTED]`";
            BenchmarkError::Broken(format!("{place}: {why}; {form}"))
        };
        let case = parse_json(line)
            .map_err(|why| broken(why.column(), "the line is not JSON".to_string()))?;
        match case.as_array().map(Vec::as_slice) {
            Some([Value::Array(_), _]) => {}
            _ => return Err(broken(1, "the line is no test case".to_string())),
        }
    }
    Ok(text.lines().count())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A folder in the form of the set: a program with JSON, one with pytest, a helper.
    fn folder(more: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("correct_python_programs/half.py", "def half(number):\n    return number / 2\n"),
            (
                "python_programs/half.py",
                "def half(number):\r\n    return number // 2\r\n\r\n\"\"\"\r\nHalf of a number.\r\n\"\"\"\r\n",
            ),
            ("json_testcases/half.json", "[[4], 2]\n[[3], 1.5]\n"),
            ("correct_python_programs/node.py", "class Node: pass\n"),
            ("python_programs/node.py", "class Node: pass\n"),
            ("python_programs/half_test.py", "from half import half\n"),
        ];
        for (file, text) in files.iter().chain(more) {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    const LAST: [(&str, &str); 4] = [
        ("correct_python_programs/last.py", "def last(node):\n    return node.next\n"),
        ("python_programs/last.py", "def last(node):\n    return node\n"),
        ("python_testcases/test_last.py", "import pytest\nfrom node import Node\n"),
        ("python_testcases/node.py", "class Node: pass\n"),
    ];

    #[test]
    fn programs_with_json_need_no_pytest() {
        let set = read(folder(&[]).path()).unwrap();
        assert_eq!((set.framework, set.left_out.len()), ("unittest", 0));
        insta::assert_debug_snapshot!(set.programs, @r#"
        [
            Program {
                task_id: "half",
                bug_type: None,
                file: "python_programs/half.py",
                function: "half",
                correct: "def half(number):\n    return number / 2\n\n\"\"\"\nHalf of a number.\n\"\"\"\n",
                faulty: "def half(number):\n    return number // 2\n\n\"\"\"\nHalf of a number.\n\"\"\"\n",
                tests: "tests/test_half.py",
            },
        ]
        "#);
        let files: Vec<_> = set.files.keys().collect();
        assert_eq!(
            files,
            [
                "json_testcases/half.json",
                "python_programs/node.py",
                "tests/__init__.py",
                "tests/test_half.py"
            ]
        );
    }

    #[test]
    fn a_pytest_file_comes_with_what_it_imports() {
        let set = read(folder(&LAST).path()).unwrap();
        let tests: Vec<_> = set.programs.iter().map(|program| &*program.tests).collect();
        assert_eq!(tests, ["tests/test_half.py", "python_testcases/test_last.py"]);
        assert_eq!(set.framework, "pytest");
        assert_eq!(set.files["python_testcases/test_last.py"], LAST[2].1);
        assert_eq!(set.files["python_testcases/node.py"], LAST[3].1);
        assert!(set.files["conftest.py"].contains("pytest.use_correct = False"));
    }

    #[test]
    fn a_program_without_a_correct_one_is_left_out() {
        let lone = [
            ("python_programs/lone.py", "def lone(): pass\n"),
            ("json_testcases/lone.json", "[[], 1]\n"),
        ];
        let set = read(folder(&lone).path()).unwrap();
        let why = "there is no correct_python_programs/lone.py";
        assert_eq!(set.left_out, [LeftOut::new("lone", "it has no correct program", why)]);
    }

    #[test]
    fn a_case_that_cannot_be_read_is_named_with_its_line() {
        #[track_caller]
        fn check(json: &str, expected: &str) {
            let folder = folder(&[("json_testcases/half.json", json)]);
            let why = read(folder.path()).unwrap_err().to_string();
            let file = folder.path().join("json_testcases/half.json").display().to_string();
            let why = why.replace(&file, "FILE");
            let form = "; a line is one JSON array, `[[ARGUMENT, …], EXPECTED]`";
            assert_eq!(why, format!("{expected}{form}"));
        }
        check("[[4], 2]\n[[3], 1.5\n", "FILE:2:9: the line is not JSON");
        check("[[4], 2]\n\n", "FILE:2:0: the line is not JSON");
        check("[4, 2]\n", "FILE:1:1: the line is no test case");
        check("[[4], 2, 3]\n", "FILE:1:1: the line is no test case");
        check("{\"a\": 1}\n", "FILE:1:1: the line is no test case");
    }

    #[test]
    fn a_folder_without_tests_is_refused() {
        let folder = folder(&[]);
        fs::remove_file(folder.path().join("json_testcases/half.json")).unwrap();
        let why = read(folder.path()).unwrap_err().to_string();
        assert!(
            why.ends_with(
                "there has to be json_testcases/NAME.json or python_testcases/test_NAME.py"
            ),
            "{why}"
        );
    }
}
