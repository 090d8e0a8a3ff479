//! Small projects of one kind each, built by the real binary: what is refused, and what is
//! left out. One environment serves them all; it needs the network once, for pytest.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fixfly_benchmarks::{Manifest, python};
use fixfly_runtime::{Benchmark, Split, Statement};
use tempfile::TempDir;

/// An interpreter whose `-m venv` copies an environment that has pytest: making and filling
/// a new one takes most of a small build's time.
fn interpreter() -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
    fs::create_dir_all(&all).unwrap();
    let lock = fs::File::create(all.join("lock")).unwrap();
    lock.lock().unwrap();
    let script = all.join("python");
    if script.exists() {
        return script;
    }
    let venv = all.join("venv");
    let _ = fs::remove_dir_all(&venv);
    let python = std::env::var("FIXFLY_PYTHON").unwrap_or_else(|_| "python3".into());
    let run = |program: &Path, words: &[&str]| {
        assert!(Command::new(program).args(words).status().unwrap().success(), "{words:?}");
    };
    run(Path::new(&python), &["-m", "venv", venv.to_str().unwrap()]);
    run(&venv.join("bin/python"), &["-m", "pip", "install", "--quiet", "pytest"]);
    let text = format!(
        "#!/bin/sh\nif [ \"$1 $2\" = '-m venv' ]; then exec cp -a '{}' \"$3\"; fi\nexec {python} \"$@\"\n",
        venv.display()
    );
    let fresh = all.join("python.fresh");
    fs::write(&fresh, text).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&fresh, &script).unwrap();
    script
}

/// A project on the disk, and where its benchmark goes.
struct Tried {
    home: TempDir,
}

impl Tried {
    fn new(files: &[(&str, &str)]) -> Self {
        let tried = Tried { home: TempDir::new().unwrap() };
        tried.write(files);
        tried
    }

    fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.repository().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn repository(&self) -> PathBuf {
        self.home.path().join("project")
    }

    fn output(&self) -> PathBuf {
        self.home.path().join("out")
    }

    fn build(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_fixfly"))
            .args(["bench", "build", "python", "--repo"])
            .arg(self.repository())
            .arg("-o")
            .arg(self.output())
            .args(words)
            .env("FIXFLY_PYTHON", interpreter())
            .output()
            .unwrap()
    }

    /// What a build printed that must succeed, and its manifest.
    #[track_caller]
    fn built(&self, words: &[&str]) -> (String, Manifest) {
        let output = self.build(words);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{said}");
        (said, Manifest::read(&self.output().join("manifest.jsonl")).unwrap())
    }

    fn git(&self, words: &[&str]) {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.repository()).args(["-c", "user.name=a", "-c", "user.email=a@b"]);
        let done = git.args(words).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

#[track_caller]
fn refuses(files: &[(&str, &str)], words: &[&str], expected: &str) {
    let output = Tried::new(files).build(words);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") && last.contains(expected), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}

const CODE: (&str, &str) = ("code.py", "class A:\n    def f(self):\n        return 1\n");
const UNITTEST: [&str; 2] = ["--tests", "unittest"];
const TEST: &str =
    "import socket\nimport unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n";

#[test]
fn a_folder_without_python_is_refused() {
    refuses(&[("README", "")], &[], "is not a Python project: it holds no .py file");
}

#[test]
fn a_project_without_tests_is_refused() {
    refuses(
        &[CODE],
        &UNITTEST,
        "unittest finds no tests in the project; choose the framework that it has tests for with \
         --tests pytest or --tests unittest",
    );
}

#[test]
fn a_project_whose_tests_all_fail_is_refused() {
    let fails = format!("{TEST}        self.fail('never')\n");
    refuses(
        &[CODE, ("test_a.py", &fails)],
        &UNITTEST,
        "none of the project's 1 tests passes on its unchanged source; the first: \
         AssertionError: never; what they need is named by --extra or --install",
    );
}

#[test]
fn a_project_whose_tests_need_a_service_is_refused() {
    let connects = format!("{TEST}        socket.create_connection(('127.0.0.1', 5432))\n");
    refuses(
        &[CODE, ("test_a.py", &connects)],
        &UNITTEST,
        "none of the project's 1 tests passes on its unchanged source, and 1 of them need a \
         network or a service",
    );
}

#[test]
fn a_project_whose_tests_cannot_be_imported_is_refused() {
    refuses(
        &[CODE, ("test_a.py", "import nowhere_to_be_found\n")],
        &UNITTEST,
        "unittest can import none of the project's tests: \
         ModuleNotFoundError: No module named 'nowhere_to_be_found'; \
         what they need is named by --extra or --install",
    );
}

#[test]
fn a_project_that_does_not_install_is_refused() {
    refuses(
        &[
            CODE,
            ("pyproject.toml", "[project]\nname = \"x\"\nversion = \"1\"\n"),
            ("setup.py", "exit('why not')"),
        ],
        &UNITTEST,
        "the project could not be installed: why not; `",
    );
}

#[test]
fn an_unknown_extra_is_refused() {
    refuses(
        &[CODE],
        &["--tests", "unittest", "--extra", "tset"],
        "the project has no extra or dependency group `tset`; it has none",
    );
}

#[test]
fn syntax_newer_than_the_interpreter_is_refused() {
    let tests = format!("import code2\n{TEST}        self.assertTrue(code2.X)\n");
    refuses(
        &[("code2.py", "X = 1\nlazy import json\n"), ("test_a.py", &tests)],
        &UNITTEST,
        "none of the project's tests can run: code2.py, line 2, needs Python 3.15 (lazy import json), \
         and the environment has Python 3.",
    );
}

#[test]
fn a_huge_project_is_refused_unless_its_files_are_chosen() {
    let methods = |at| format!("    def f{at}(self):\n        x = {at}\n        return x\n");
    let code = format!("class A:\n{}", (0..5001).map(methods).collect::<String>());
    let test = format!("{TEST}        self.assertTrue(socket)\n");
    let files = [("code.py", code.as_str()), ("test_a.py", test.as_str())];
    refuses(
        &files,
        &UNITTEST,
        "the project is huge: 1 tests and 5001 functions and methods; choose the files to take \
         items from, as --files 'src/package/*.py', or all with --files '*'",
    );
    let tried = Tried::new(&files);
    let (said, manifest) = tried.built(&["--tests", "unittest", "--files", "other"]);
    let counts = [("its file is not among those of --files".to_string(), 5001)];
    assert_eq!(manifest.header.left_out, BTreeMap::from(counts), "{said}");
}

/// Two methods with a copy each, one of them in the same file; and unreliable tests, one of
/// which waits for ever.
const UNRELIABLE: &[(&str, &str)] = &[
    (
        "one.py",
        "class A:\n    def add(self, a):\n        total = 1\n        total += a\n        return total + 0\n\n    def again(self, a):\n        total = 1\n        total += a\n        return total + 0\n\n    def alone(self):\n        x = 2\n        return x + 0\n\n\nSEEN = []\n",
    ),
    ("two.py", "class B:\n    def dated(self):\n        x = 3\n        return x + 0\n"),
    ("docs/a.md", "```python\n>>> total = 1\n>>> total += a\n>>> return total + 0\n```\n"),
    (
        "test_one.py",
        "import datetime\nimport socket\nimport threading\nimport time\n\nimport one\nimport pytest\nfrom two import B\n\n\ndef test_add():\n    assert one.A().add(2) == 3\n\n\ndef test_again():\n    assert one.A().again(2) == 3\n\n\ndef test_waits():\n    threading.Event().wait()\n\n\ndef test_first():\n    one.SEEN.append(one.A().alone())\n    assert one.SEEN[0] == 2\n\n\ndef test_second():\n    assert one.SEEN and one.A().alone() == 2\n\n\ndef test_dated():\n    start = datetime.date.fromtimestamp(time.clock_gettime(time.CLOCK_REALTIME))\n    assert (datetime.date.today() - start).days < 9 and B().dated() == 3\n\n\ndef test_connects():\n    socket.create_connection((\"127.0.0.1\", 9))\n\n\n@pytest.mark.skip\ndef test_skipped():\n    pass\n",
    ),
];

#[test]
fn unreliable_tests_are_left_out_and_copies_are_listed() {
    let tried = Tried::new(UNRELIABLE);
    let (said, manifest) = tried.built(&["--mask-copies"]);
    let counts = [
        "depends on the clock",
        "depends on the network",
        "depends on the order",
        "hangs, or ends its process",
        "is skipped",
    ];
    let counts = counts.map(|reason| (reason.to_string(), 1));
    assert_eq!(manifest.header.tests_left_out, BTreeMap::from(counts), "{said}");
    assert!(said.contains("test left out:     1  depends on the clock"), "{said}");
    let evidence = fs::read_to_string(tried.output().join("tests_left_out.jsonl")).unwrap();
    assert!(evidence.contains("it fails when the clock is 400 days ahead"), "{evidence}");
    let reason = [("its tests are flaky, or depend on their order or the clock".to_string(), 1)];
    assert_eq!(manifest.header.left_out, BTreeMap::from(reason), "{said}");

    let copies = |id: &str| &manifest.items.iter().find(|item| item.id == id).unwrap().copies;
    assert_eq!(copies("one.py::A.add"), &["docs/a.md:2", "one.py:8"], "{said}");
    assert_eq!(copies("one.py::A.again"), &["docs/a.md:2", "one.py:3"], "{said}");
    assert!(copies("one.py::A.alone").is_empty());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let benchmark = python::load(Some(&tried.output())).unwrap();
    let mut contents = BTreeMap::new();
    for split in Split::ALL {
        for task in runtime.block_on(benchmark.tasks(split)).unwrap() {
            let Statement::Method(method) = task.statement else { continue };
            contents.insert(task.id, method.content);
        }
    }
    let content = &contents["one.py::A.add"];
    assert!(content.starts_with("class A:\n    def again(self, a):\n        ...\n\n"), "{content}");
}

#[test]
fn only_what_changed_since_a_commit_is_examined() {
    let method = |name: &str, number: u32| {
        format!("    def {name}(self):\n        x = {number}\n        return x + 0\n\n")
    };
    let code = |names: &[(&str, u32)]| {
        let all: String = names.iter().map(|(name, number)| method(name, *number)).collect();
        format!("class A:\n{all}")
    };
    let test = "import one\n\n\ndef test_a():\n    assert one.A().a() == 1\n\n\ndef test_b():\n    assert one.A().b() in (2, 30, 400)\n";
    let tried = Tried::new(&[("one.py", &code(&[("a", 1), ("b", 2)])), ("test_one.py", test)]);
    tried.git(&["init", "--quiet"]);
    tried.git(&["add", "."]);
    tried.git(&["commit", "--quiet", "-m", "1"]);
    let output = tried.build(&["--since", "nowhere"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("error: --since `nowhere` is no commit of "), "{stderr}");

    tried.write(&[("one.py", &code(&[("a", 1), ("b", 30)]))]);
    let (said, manifest) = tried.built(&["--since", "HEAD"]);
    let ids = |manifest: &Manifest| -> Vec<String> {
        let mut ids: Vec<_> = manifest.items.iter().map(|item| item.id.clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&manifest), ["one.py::A.b"], "{said}");
    let unchanged = [("unchanged since HEAD".to_string(), 1)];
    assert_eq!(manifest.header.left_out, BTreeMap::from(unchanged), "{said}");

    // Items that did not change stay, where they were examined before.
    let (_, all) = tried.built(&[]);
    assert_eq!(ids(&all), ["one.py::A.a", "one.py::A.b"]);
    tried.write(&[("one.py", &code(&[("a", 1), ("c", 0), ("b", 400)]))]);
    let (said, manifest) = tried.built(&["--since", "HEAD"]);
    assert_eq!(ids(&manifest), ["one.py::A.a", "one.py::A.b"], "{said}");
    let examined = fs::read_dir(tried.output().join("build/methods")).unwrap().count();
    assert_eq!(examined, 1, "{said}");
}
