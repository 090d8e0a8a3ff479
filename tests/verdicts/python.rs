//! Benchmarks of any Python project, through the real binary, on a small
//! project written for it. Needs the network once, for pytest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fixfly_benchmarks::{Header, Item, Manifest, Methods, Project, RunPath, Source, Tests, source};
use fixfly_runtime::{Benchmark, DescribedBy, Evaluator, Split, TestOutcome, find, sha256};
use tempfile::TempDir;

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/python").join(name)
}

fn fixfly(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fixfly")).args(words).output().unwrap()
}

#[track_caller]
pub(crate) fn succeeds(words: &[&str]) -> String {
    let output = fixfly(words);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout) + &text(&output.stderr)
}

/// The error of a command that failed.
#[track_caller]
pub(crate) fn refused(words: &[&str]) -> String {
    let output = fixfly(words);
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The benchmark of the fixture and what was printed, made once for all tests:
/// each is a process of its own, and the first to come makes it.
pub(crate) fn built() -> (PathBuf, String) {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ledger");
    fs::create_dir_all(&all).unwrap();
    let lock = fs::File::create(all.join("lock")).unwrap();
    lock.lock().unwrap();
    let run = std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| std::process::id().to_string());
    let folder = all.join("benchmark");
    let made = all.join("made");
    let of = fs::read_to_string(&made).unwrap_or_default();
    if let Some((_, stdout)) = of.split_once('\n').filter(|(by, _)| *by == run) {
        return (folder, stdout.to_owned());
    }
    let _ = fs::remove_dir_all(&folder);
    let repository = fixture("ledger").display().to_string();
    let output = folder.display().to_string();
    let stdout = succeeds(&["bench", "build", "python", "--repo", &repository, "-o", &output]);
    fs::write(&made, format!("{run}\n{stdout}")).unwrap();
    (folder, stdout)
}

#[test]
fn a_project_becomes_a_benchmark_that_holds() {
    let (folder, stdout) = built();
    let home = TempDir::new().unwrap();
    assert!(stdout.contains("made by the project's build: src/ledger/_version.py"), "{stdout}");
    let packages = fs::read_dir(folder.join("venv/lib")).unwrap().next().unwrap().unwrap();
    assert!(!packages.path().join("site-packages/ledger").exists());
    let preload = fs::read_to_string(folder.join("preload.json")).unwrap();
    assert!(preload.contains("pytest") && !preload.contains("ledger"), "{preload}");

    let manifest = fs::read_to_string(folder.join("manifest.jsonl")).unwrap();
    let rows = manifest.lines().skip(1);
    let items: Vec<Item> = rows.map(|row| serde_json::from_str(row).unwrap()).collect();
    let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
    assert!(ids.iter().all(|id| id.starts_with("src/ledger/")), "{ids:?}");
    for name in ["money.py::Money.parse", "account.py::Savings.withdraw", "book.py::Book.settle"] {
        assert!(ids.contains(&format!("src/ledger/{name}").as_str()), "{name} is not in {ids:?}");
    }
    // Functions and the parts of a property, but no stub of an overload.
    let mut functions: Vec<&str> =
        ids.iter().filter_map(|id| id.strip_prefix("src/ledger/report.py::")).collect();
    functions.sort_unstable();
    let kept = "Limit.__init__ Limit.cents Limit.cents.deleter Limit.cents.setter amount audit \
                heading ranked statement total";
    assert_eq!(functions, kept.split(' ').collect::<Vec<_>>());
    let left_out = Manifest::read(&folder.join("manifest.jsonl")).unwrap().header.left_out;
    for reason in ["it is defined inside a function", "its name is defined more than once"] {
        assert_eq!(left_out.get(reason), Some(&1), "{left_out:?}");
    }

    let folder = folder.display().to_string();
    for split in Split::ALL {
        let count = items.iter().filter(|item| item.split == split).count();
        if count == 0 {
            continue;
        }
        let name = split.name();
        let words =
            ["bench", "verify", "python", "--benchmark-dir", &folder, "--split", name, "-j", "2"];
        let stdout = succeeds(&words);
        assert!(stdout.contains(&format!("original solves {count} / {count}")), "{stdout}");
        assert!(stdout.contains(&format!("stub solves     0 / {count}")), "{stdout}");
    }
    for policy in ["oracle", "null", "retrieval"] {
        let run = home.path().join(policy).display().to_string();
        let words = ["run", "python", "--benchmark-dir", &folder, "--policy", policy, "-o", &run];
        succeeds(&words);
        assert!(succeeds(&["report", &run]).contains("python"));
    }
}

#[test]
fn an_unchanged_project_is_not_built_again() {
    let (folder, _) = built();
    let repository = fixture("ledger").display().to_string();
    let output = folder.display().to_string();
    let before = fs::read_to_string(folder.join("manifest.jsonl")).unwrap();
    let environment = fs::metadata(folder.join("venv/pyvenv.cfg")).unwrap().modified().unwrap();
    succeeds(&["bench", "build", "python", "--repo", &repository, "-o", &output]);
    assert_eq!(fs::read_to_string(folder.join("manifest.jsonl")).unwrap(), before);
    let after = fs::metadata(folder.join("venv/pyvenv.cfg")).unwrap().modified().unwrap();
    assert_eq!(after, environment);
}

/// How every test fares in a fresh process of the project's own test program.
fn fresh(folder: &Path, framework: &str, file: &str, text: &str) -> BTreeMap<String, String> {
    let copy = TempDir::new().unwrap();
    let source = copy.path().join("source");
    let from = folder.join("source");
    assert!(Command::new("cp").arg("-r").args([&from, &source]).status().unwrap().success());
    fs::write(source.join(file), text).unwrap();
    let _ = fs::remove_dir_all(source.join("src/ledger/__pycache__"));
    let output = Command::new(folder.join("venv/bin/python"))
        .args([fixture("fresh.py"), source])
        .arg(framework)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn methods(folder: &Path, framework: &str, item: Item) -> Methods {
    let header = Header {
        schema: 1,
        benchmark: "python".into(),
        source: Source { package: "ledger".into(), version: String::new(), sha256: String::new() },
        framework: framework.into(),
        python: String::new(),
        left_out: BTreeMap::new(),
        unexamined: 0,
        tests_left_out: BTreeMap::new(),
        mask_copies: false,
        span: None,
    };
    let project = Project::open(folder, framework).unwrap();
    Methods::new("python", project, Manifest { header, items: vec![item] })
}

/// Every test must fare as in a fresh process, with the original, a stub and a mutant.
#[track_caller]
fn fares_alike(framework: &str, file: &str, path: &str, change: (&str, &str)) {
    let (folder, _) = built();
    let text = fs::read_to_string(folder.join("source").join(file)).unwrap();
    let all = source::methods(&text).unwrap();
    let method = all.iter().find(|method| method.path() == path).unwrap();
    let tests = fresh(&folder, framework, file, &text);
    assert!(tests.len() > 5, "{tests:?}");
    let item = Item {
        id: format!("{file}::{path}"),
        split: Split::Benchmark,
        spans: vec![[method.span.start, method.span.end]],
        hash: sha256(&text[method.span.clone()])[..16].to_string(),
        path: RunPath::Cold,
        tests: tests.keys().collect(),
        wider: Tests::default(),
        seconds: 2.0,
        described_by: DescribedBy::Nothing,
        lines: method.body_lines,
        mutants: [1, 1],
        copies: Vec::new(),
    };
    let benchmark = methods(&folder, framework, item);
    let truth = source::source_of(&text, method);
    let mutant = truth.replacen(change.0, change.1, 1);
    assert_ne!(mutant, truth);
    let host = (find("sandbox", fixfly_sandboxes::ALL, "local").unwrap().open)(
        &fixfly_sandboxes::HostOptions::default(),
    )
    .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for candidate in [truth, source::stub(&text, method), mutant] {
        let spliced = source::spliced(&text, method, &candidate);
        let mut expected = fresh(&folder, framework, file, &spliced);
        // What a fresh process could not even collect has failed.
        for test in tests.keys() {
            expected.entry(test.clone()).or_insert("bad".into());
        }
        let seen = runtime.block_on(async {
            let task = benchmark.tasks(Split::Benchmark).await.unwrap().remove(0);
            let sandbox = host.open(&task.sandbox).await.unwrap();
            benchmark.evaluate(&task, &candidate, &*sandbox).await.unwrap()
        });
        let results = seen.tests.unwrap().results;
        let found: BTreeMap<String, String> =
            results.into_iter().map(|result| (result.id, word(result.outcome).into())).collect();
        assert_eq!(found, expected, "{candidate}\n{}", seen.text);
    }
}

fn word(outcome: TestOutcome) -> &'static str {
    match outcome {
        TestOutcome::Passed => "passed",
        TestOutcome::Skipped => "skipped",
        TestOutcome::ExpectedFailure => "expected_failure",
        TestOutcome::UnexpectedSuccess => "unexpected_success",
        _ => "bad",
    }
}

#[test]
fn tests_fare_as_in_a_fresh_process() {
    let account = "src/ledger/account.py";
    let at_most = ("self.balance < amount", "self.balance <= amount");
    fares_alike("unittest", account, "Account.withdraw", at_most);
    fares_alike("pytest", account, "Account.withdraw", at_most);
    fares_alike("pytest", account, "Savings.withdraw", ("return super()", "super()"));
    let money = "src/ledger/money.py";
    fares_alike("pytest", money, "Money.parse", ("sign * (", "("));
    fares_alike("pytest", money, "Money.is_debt", ("< 0", "<= 0"));
    fares_alike("pytest", "src/ledger/book.py", "Book.settle", ("made += 1", "made += 2"));
    fares_alike("pytest", "src/ledger/book.py", "Book.open", ("not in", "in"));
    let report = "src/ledger/report.py";
    fares_alike("pytest", report, "Limit.cents.setter", ("+= 1", "+= 2"));
    fares_alike("pytest", report, "amount", ("Money(value)", "Money(-value)"));
    fares_alike("pytest", report, "statement", ("'total'", "'all'"));
    fares_alike("pytest", report, "audit", ("append(owner)", "append(book)"));
}

/// Files of one kind each: reruns, subtests that skip, fixtures of a plug-in, parameters whose
/// ids are addresses, a file that is not UTF-8, settings of tools only.
const CORNERS: &[(&str, &[u8])] = &[
    ("pyproject.toml", b"[tool.pytest.ini_options]\npythonpath = [\".\"]\naddopts = \"-n 2 --reruns 2 --strict-markers\"\n"),
    ("one.py", b"class A:\n    def rerun(self):\n        x = 1\n        return x + 0\n\n    def part(self):\n        x = 2\n        return x + 0\n\n    def worker(self):\n        x = 3\n        return x + 0\n\n    def address(self):\n        x = 4\n        return x + 0\n"),
    ("latin.py", b"# -*- coding: latin-1 -*-\nclass L:\n    def one(self):\n        x = \"caf\xe9\"\n        return x * 1\n\n    def two(self):\n        x = 2\n        return x + 0\n"),
    ("app/__init__.py", b""),
    ("scripts2/__init__.py", b""),
    ("test_one.py", b"import pytest\nfrom latin import L\nfrom one import A\n\ntries = []\n\n\ndef test_rerun():\n    tries.append(1)\n    assert len(tries) > 1 and A().rerun() == 1\n\n\ndef test_part(subtests):\n    with subtests.test(\"skips\"):\n        pytest.skip(\"not here\")\n    with subtests.test(\"holds\"):\n        assert A().part() == 2\n\n\n@pytest.mark.xdist_group(\"a\")\ndef test_worker(worker_id):\n    assert A().worker() == 3\n\n\n@pytest.mark.parametrize(\"it\", [object()], ids=str)\ndef test_address(it):\n    assert A().address() == 4\n\n\ndef test_latin():\n    assert L().one() == \"caf\\xe9\" and L().two() == 2\n"),
];

#[test]
fn what_cannot_be_an_item_is_counted_by_its_reason() {
    let home = TempDir::new().unwrap();
    let repository = home.path().join("project");
    for (name, bytes) in CORNERS {
        let path = repository.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let repository = repository.display().to_string();
    let output = home.path().join("out").display().to_string();
    let mut words = vec!["bench", "build", "python", "--repo", &repository, "-o", &output];
    for plugin in ["pytest-rerunfailures", "pytest-xdist", "pytest-randomly"] {
        words.extend(["--install", plugin]);
    }
    let said = succeeds(&words);
    assert!(said.contains("neither [project] nor [build-system]"), "{said}");
    assert!(said.contains("plug-in randomly is turned off"), "{said}");
    let manifest = Manifest::read(&Path::new(&output).join("manifest.jsonl")).unwrap();
    let mut ids: Vec<&str> = manifest.items.iter().map(|item| item.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["one.py::A.part", "one.py::A.rerun", "one.py::A.worker"], "{said}");
    let counts = [
        ("its file is not UTF-8".to_string(), 2),
        ("the ids of its tests change from run to run".to_string(), 1),
    ];
    assert_eq!(manifest.header.left_out, BTreeMap::from(counts), "{said}");
}
