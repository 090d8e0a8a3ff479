//! Runs tests of a repository by the test server: which tests there are, which ones are
//! asked for, and what their results are.
//!
//! Ids are compared with those that the framework collects. No program ever gets an id that
//! names no test, so an id cannot be an option or a command.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use fixfly_runtime::{
    BenchmarkError, Command, Observation, Outcome, Sandbox, Status, TestFailure, TestOutcome,
    TestReport, TestResult,
};
use serde_json::json;

use super::ROOT;
use crate::observe::{failures, headline};
use crate::server::{Answer, Collected, Config, Part, Server};

/// Maximum number of tests that run in one process.
const CHUNK: usize = 2000;
/// Limits of one process. A repository's whole suite may run in it.
const WALL: u64 = 900;
const MEMORY_MB: u64 = 3072;
/// Maximum number of ids or parts that a message names.
const NAMED: usize = 3;

/// The tests of one framework.
pub(crate) struct Suite {
    framework: &'static str,
    config: Config,
    /// The interpreter in the sandbox, and as the user knows it.
    program: String,
    python: String,
    /// The tests of each part when it was last collected. A part that can no longer be
    /// imported has none, and its tests are then reported as failing.
    known: Mutex<BTreeMap<String, Vec<String>>>,
}

/// What to run.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Chosen {
    pub(crate) tests: Vec<String>,
    /// Broken parts of which no test is known, with the reason.
    pub(crate) broken: Vec<(String, String)>,
    /// What was collected: the parts that contain the tests, and maybe others.
    pub(crate) parts: BTreeMap<String, Part>,
}

impl Suite {
    pub(super) fn new(
        framework: &'static str,
        paths: &[String],
        program: &str,
        python: String,
    ) -> Suite {
        // The server must not import the repository's modules instead of Python's own.
        let alone = ["env", "-u", "PYTHONPATH", program];
        let config = Config {
            root: ROOT,
            framework: framework.to_string(),
            preload: Vec::new(),
            probe: false,
            paths: paths.to_vec(),
            python: alone.map(str::to_string).to_vec(),
        };
        let program = program.to_string();
        Suite { framework, config, program, python, known: Mutex::default() }
    }

    /// Runs the tests with these ids, or all tests if there are none.
    ///
    /// # Errors
    /// One sentence if an id names no test, or nothing can be run.
    pub(super) async fn run(
        &self,
        ids: &[String],
        sandbox: &dyn Sandbox,
    ) -> Result<Observation, BenchmarkError> {
        let chosen = self.find(ids, sandbox).await?;
        let (mut outcome, mut results) = (Outcome::Passed, Vec::new());
        for tests in chosen.tests.chunks(CHUNK) {
            let answer = self.run_chunk(tests, WALL, sandbox).await?;
            outcome = worse(outcome, answer.outcome);
            results.extend(answer.results);
        }
        results.extend(chosen.broken.into_iter().map(|(id, why)| unimportable(id, &why)));
        let report = TestReport { results };
        // The test server counts a skipped test as not passed.
        let outcome = match report.passed_or_skipped() {
            true if matches!(outcome, Outcome::Passed | Outcome::Failed) => Outcome::Passed,
            false if outcome == Outcome::Passed => Outcome::Failed,
            _ => outcome,
        };
        let text = text(outcome, &report);
        Ok(Observation { tests: Some(report), ..Observation::new(outcome, text) })
    }

    /// Finds the tests with these ids, or all tests if there are none.
    ///
    /// # Errors
    /// One sentence if an id names no test, or there are no tests.
    pub(crate) async fn find(
        &self,
        ids: &[String],
        sandbox: &dyn Sandbox,
    ) -> Result<Chosen, BenchmarkError> {
        self.require_framework(sandbox).await?;
        let ids: Vec<String> = ids.iter().map(|id| normal(id)).collect();
        let collected = self.collect(&ids, sandbox).await?;
        self.choose(&ids, collected)
    }

    /// The configuration of a test server for this suite.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    async fn require_framework(&self, sandbox: &dyn Sandbox) -> Result<(), BenchmarkError> {
        let code =
            "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)";
        let Suite { framework, python, .. } = self;
        let check = Command::new([self.program.as_str(), "-I", "-c", code, framework]);
        match sandbox.exec(&check).await?.status {
            Status::Exited(0) => Ok(()),
            Status::Exited(1) => Err(BenchmarkError::Broken(format!(
                "{python} has no {framework}; install it there (`{python} -m pip install {framework}`), name \
                 another interpreter with --python, or use the framework `unittest`"
            ))),
            status => Err(BenchmarkError::Broken(format!(
                "{python} does not run in the sandbox ({status:?}); name another interpreter with --python"
            ))),
        }
    }

    /// An id as the framework writes it: unittest names files as modules.
    fn own(&self, id: &str, groups: &BTreeMap<String, Part>) -> String {
        let is_path = id.contains('/') || id.ends_with(".py");
        if self.framework != "unittest" || !is_path {
            return id.to_string();
        }
        let module = groups.iter().find(|(_, part)| part.file == id).map(|(name, _)| name.clone());
        module.unwrap_or_else(|| id.trim_end_matches(".py").replace('/', "."))
    }

    /// Whether a test or a part has this id, or is in the folder, file, class or function that
    /// has it.
    fn is_within(&self, test: &str, id: &str) -> bool {
        let Some(rest) = test.strip_prefix(id) else { return false };
        rest.is_empty()
            || id.is_empty()
            || match self.framework {
                "unittest" => rest.starts_with('.'),
                _ => rest.starts_with(['/', ':', '[']),
            }
    }

    /// Collects the tests of the files that these ids name, or all tests.
    async fn collect(
        &self,
        ids: &[String],
        sandbox: &dyn Sandbox,
    ) -> Result<Collected, BenchmarkError> {
        let files = match self.framework {
            "pytest" => existing(ids, sandbox).await?,
            _ => None,
        };
        let server = Server { sandbox, config: &self.config };
        let collected: Collected = server.collect(files.as_deref()).await?;
        match (collected.groups.is_empty(), collected.broken.as_slice()) {
            // Only the files of the ids were asked for.
            (true, []) if files.is_some() => {
                Err(self.no_such(&ids.iter().collect::<Vec<_>>(), &[]))
            }
            (true, []) => Err(BenchmarkError::Broken(format!(
                "{} finds no tests in the repository",
                self.framework
            ))),
            // The framework itself failed.
            (true, [(part, why), ..]) if part.is_empty() => Err(BenchmarkError::Broken(format!(
                "{} cannot collect the tests: {why}",
                self.framework
            ))),
            _ => Ok(collected),
        }
    }

    fn choose(&self, ids: &[String], collected: Collected) -> Result<Chosen, BenchmarkError> {
        let Collected { groups, broken, .. } = collected;
        let ids: Vec<String> = ids.iter().map(|id| self.own(id, &groups)).collect();
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut all: Vec<String> = Vec::new();
        for (name, part) in &groups {
            all.extend(part.tests.iter().cloned());
            known.insert(name.clone(), part.tests.clone());
        }
        let mut chosen = Chosen { parts: groups, ..Chosen::default() };
        for (name, why) in broken {
            let tests: Vec<&String> = known
                .iter()
                .filter(|(part, _)| self.is_within(part, &name))
                .flat_map(|(_, tests)| tests)
                .collect();
            match tests.is_empty() {
                true => chosen.broken.push((name, why)),
                false => all.extend(tests.into_iter().cloned()),
            }
        }
        let mut seen = BTreeSet::new();
        all.retain(|test| seen.insert(test.clone()));
        if ids.is_empty() {
            chosen.tests = all;
            return Ok(chosen);
        }
        // An id in a broken part may be that of a test, which nobody can know.
        let is_meant = |id: &str, part: &str| self.is_within(part, id) || self.is_within(id, part);
        let unknown: Vec<&String> = ids
            .iter()
            .filter(|id| !all.iter().any(|test| self.is_within(test, id)))
            .filter(|id| !chosen.broken.iter().any(|(part, _)| is_meant(id, part)))
            .collect();
        if !unknown.is_empty() {
            return Err(self.no_such(&unknown, &all));
        }
        chosen.tests =
            all.into_iter().filter(|test| ids.iter().any(|id| self.is_within(test, id))).collect();
        chosen.broken.retain(|(part, _)| ids.iter().any(|id| is_meant(id, part)));
        Ok(chosen)
    }

    fn no_such(&self, unknown: &[&String], all: &[String]) -> BenchmarkError {
        let names: Vec<String> =
            unknown.iter().take(NAMED).map(|id| format!("`{}`", id.escape_debug())).collect();
        let more = match unknown.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let others = all.first().map_or(String::new(), |example| {
            format!("; {} collects {} tests here, such as `{example}`", self.framework, all.len())
        });
        BenchmarkError::Broken(format!("no test has the id {}{more}{others}", names.join(", ")))
    }

    /// Runs tests in one process, for at most `wall` seconds.
    pub(crate) async fn run_chunk(
        &self,
        tests: &[String],
        wall: u64,
        sandbox: &dyn Sandbox,
    ) -> Result<Answer, BenchmarkError> {
        let limits = json!({
            "wall": wall, "cpu": wall, "memory_mb": MEMORY_MB, "processes": 256, "disk_mb": 512,
        });
        let request = json!({ "op": "run", "path": "cold0", "tests": tests, "limits": limits });
        let server = Server { sandbox, config: &self.config };
        server.ask(&request, Duration::from_secs(wall + 180)).await
    }
}

/// An id below the root, without `./`.
fn normal(id: &str) -> String {
    let id = id.trim();
    let id = id.strip_prefix(&format!("{ROOT}/")).unwrap_or(id);
    let id = id.trim_start_matches("./").trim_end_matches('/');
    if id == "." { String::new() } else { id.to_string() }
}

/// The files and folders that ids of pytest name, if all of them exist; `None` if the whole
/// repository must be collected to answer.
async fn existing(
    ids: &[String],
    sandbox: &dyn Sandbox,
) -> Result<Option<Vec<String>>, BenchmarkError> {
    let files: BTreeSet<&str> =
        ids.iter().map(|id| id.split_once("::").map_or(id.as_str(), |(file, _)| file)).collect();
    // pytest reads options and files of arguments among its files.
    let is_plain =
        |file: &str| !file.is_empty() && !file.starts_with(['-', '@']) && !file.contains('\0');
    if files.is_empty() || !files.iter().all(|file| is_plain(file)) {
        return Ok(None);
    }
    let code = r#"for file; do [ -e "./$file" ] || exit 1; done"#;
    let mut check = Command::new(["sh", "-c", code, "sh"].into_iter().chain(files.iter().copied()));
    check.workdir = Some(ROOT.into());
    let found = sandbox.exec(&check).await?.status == Status::Exited(0);
    Ok(found.then(|| files.into_iter().map(str::to_string).collect()))
}

fn unimportable(id: String, why: &str) -> TestResult {
    let (exception, message) = why.split_once(": ").unwrap_or(("ImportError", why));
    let failure = TestFailure {
        exception: exception.to_string(),
        message: message.to_string(),
        traceback: why.to_string(),
        output: String::new(),
    };
    TestResult { id, outcome: TestOutcome::Errored, failure: Some(failure) }
}

/// The worse outcome of two processes.
fn worse(one: Outcome, other: Outcome) -> Outcome {
    const ORDER: [Outcome; 7] = [
        Outcome::Passed,
        Outcome::Failed,
        Outcome::OutOfMemory,
        Outcome::Exited,
        Outcome::Crashed,
        Outcome::TimedOut,
        Outcome::Tampered,
    ];
    let rank = |outcome: Outcome| ORDER.iter().position(|one| *one == outcome);
    if rank(other) > rank(one) { other } else { one }
}

/// The results as text: counts, then each failure, within a size limit.
fn text(outcome: Outcome, report: &TestReport) -> String {
    let count = |is: &dyn Fn(&TestResult) -> bool| {
        report.results.iter().filter(|result| is(result)).count()
    };
    let failed = count(&|result| !result.outcome.is_fine());
    let skipped = count(&|result| result.outcome == TestOutcome::Skipped);
    let expected = count(&|result| result.outcome == TestOutcome::ExpectedFailure);
    let mut text = format!(
        "{} {} tests: {} passed, {failed} failed",
        headline(outcome),
        report.results.len(),
        report.count_passed()
    );
    for (count, name) in [(skipped, "skipped"), (expected, "failed as expected")] {
        if count > 0 {
            text += &format!(", {count} {name}");
        }
    }
    text += "\n";
    let bad: Vec<&TestResult> =
        report.results.iter().filter(|result| !result.outcome.is_fine()).collect();
    let failures = failures(&bad, text.len());
    text + &failures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(framework: &'static str) -> Suite {
        Suite::new(framework, &[], "/env/bin/python", "python3".into())
    }

    fn collected(groups: &[(&str, &[&str])], broken: &[(&str, &str)]) -> Collected {
        let part = |tests: &[&str]| Part {
            file: "lib/test_u.py".to_string(),
            tests: tests.iter().map(ToString::to_string).collect(),
        };
        Collected {
            groups: groups.iter().map(|(name, tests)| (name.to_string(), part(tests))).collect(),
            broken: broken.iter().map(|(one, two)| (one.to_string(), two.to_string())).collect(),
            off: Vec::new(),
        }
    }

    const GROUPS: &[(&str, &[&str])] = &[
        ("t/test_a.py", &["t/test_a.py::test_x[1]", "t/test_a.py::test_x[2]", "t/test_a.py::C::y"]),
        ("t/test_ab.py", &["t/test_ab.py::test_z"]),
    ];

    #[track_caller]
    fn check(id: &str, expected: Result<&[&str], &str>) {
        let suite = suite("pytest");
        let chosen = suite.choose(&[normal(id)], collected(GROUPS, &[]));
        match (chosen, expected) {
            (Ok(chosen), Ok(expected)) => assert_eq!(chosen.tests, expected, "{id}"),
            (Err(why), Err(expected)) => assert_eq!(why.to_string(), expected),
            (chosen, _) => panic!("{id}: {chosen:?}"),
        }
    }

    #[test]
    fn an_id_names_a_folder_a_file_a_class_or_a_test() {
        check("t/test_a.py::test_x[1]", Ok(&["t/test_a.py::test_x[1]"]));
        check("t/test_a.py::test_x", Ok(&["t/test_a.py::test_x[1]", "t/test_a.py::test_x[2]"]));
        check("t/test_a.py::C", Ok(&["t/test_a.py::C::y"]));
        check("./t/test_ab.py", Ok(&["t/test_ab.py::test_z"]));
        check("/repo/t/test_ab.py", Ok(&["t/test_ab.py::test_z"]));
        check("t/", Ok(&[GROUPS[0].1, GROUPS[1].1].concat()[..]));
    }

    #[test]
    fn an_id_that_names_nothing_is_refused() {
        let unknown = |id: &str| {
            format!(
                "no test has the id `{id}`; pytest collects 4 tests here, such as `t/test_a.py::test_x[1]`"
            )
        };
        for id in ["; rm -rf x", "--help", "t/test_a", "$(reboot)", "../etc/passwd", "-p evil"] {
            check(id, Err(&unknown(id)));
        }
        check("a\nb", Err(&unknown("a\\nb")));
    }

    #[test]
    fn tests_of_a_part_that_breaks_are_still_run() {
        let suite = suite("pytest");
        suite.choose(&[], collected(GROUPS, &[])).unwrap();
        let broken = [("t/test_ab.py", "SyntaxError: no"), ("t/test_new.py", "NameError: x")];
        let chosen = suite.choose(&[], collected(&GROUPS[..1], &broken)).unwrap();
        assert_eq!(chosen.tests, [GROUPS[0].1, GROUPS[1].1].concat());
        assert_eq!(chosen.broken, [("t/test_new.py".to_string(), "NameError: x".to_string())]);
        let ids = ["t/test_new.py::test_q".to_string()];
        let chosen = suite.choose(&ids, collected(&GROUPS[..1], &broken[1..])).unwrap();
        assert_eq!((chosen.tests.len(), chosen.broken.len()), (0, 1));
        assert_eq!(unimportable("t".into(), "NameError: x").failure.unwrap().message, "x");
    }

    #[test]
    fn paths_become_names_for_unittest() {
        let suite = suite("unittest");
        for (id, expected) in [
            ("tests/test_a.py", "tests.test_a"),
            ("test_a.py", "test_a"),
            ("tests.test_a.C.test_x", "tests.test_a.C.test_x"),
            ("tests/a", "tests.a"),
            ("lib/test_u.py", "test_u"),
        ] {
            let groups = collected(&[("test_u", &[])], &[]).groups;
            assert_eq!(suite.own(id, &groups), expected);
        }
    }

    #[test]
    fn the_worst_process_decides() {
        use Outcome::{Failed, Passed, Tampered, TimedOut};
        for (one, other, expected) in [
            (Passed, Passed, Passed),
            (Passed, Failed, Failed),
            (TimedOut, Failed, TimedOut),
            (Failed, Tampered, Tampered),
        ] {
            assert_eq!(worse(one, other), expected);
        }
    }
}
