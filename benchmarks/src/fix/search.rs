//! Finds what fails, where the fault may be, and which tests guard against new faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fixfly_runtime::{BenchmarkError, Host, Sandbox, SandboxSpec, TestOutcome, TestResult};

use super::census::{Census, take};
use super::items::Fix;
use super::rank::{Suspect, suspects};
use crate::places::Place;
use crate::project::{places, read_texts};
use crate::repository::{Chosen, Repository, RepositoryOptions, Suite};

/// Maximum number of failing tests to fix together.
const MAX_FAILING: usize = 20;
/// Maximum number of tests that guard one place.
const MAX_GUARDS: usize = 2000;
/// Maximum number of tests in one process.
const CHUNK: usize = 2000;
/// Time limits in seconds: of the tests, and of recording what the tests of other files enter.
const WALL: u64 = 600;
const OTHERS_WALL: u64 = 120;

/// What to fix.
#[derive(Clone, Debug)]
pub struct FixOptions {
    /// The repository and its interpreter.
    pub repository: RepositoryOptions,
    /// `pytest` or `unittest`.
    pub framework: &'static str,
    /// Ids of tests, of their classes, files or folders; all tests if there are none.
    pub tests: Vec<String>,
    /// Maximum number of places to try.
    pub places: usize,
}

/// A repository to search for a fault.
pub struct Search {
    pub(super) options: FixOptions,
    pub(super) repository: Repository,
    pub(super) suite: Suite,
    pub(super) spec: SandboxSpec,
}

/// What a search found.
pub(super) struct Found {
    /// The failing tests.
    pub(super) failing: Vec<TestResult>,
    /// CPU seconds of the failing tests, and of the guards.
    pub(super) seconds: [f64; 2],
    /// The places, the likeliest first, each with the tests that guard it.
    pub(super) places: Vec<(Suspect, Place, Vec<String>)>,
    /// All functions and methods of the project.
    pub(super) all: Vec<Place>,
    /// Python files of the project.
    pub(super) texts: BTreeMap<String, Arc<str>>,
}

/// Results, and the CPU seconds that they took.
#[derive(Default)]
struct Ran {
    results: Vec<TestResult>,
    cpu: f64,
}

impl Search {
    /// Copies the repository.
    ///
    /// # Errors
    /// One sentence with the remedy if the folder is no repository, or its interpreter cannot
    /// be used.
    pub fn open(options: FixOptions) -> Result<Search, BenchmarkError> {
        let repository = Repository::open(&options.repository)?;
        let suite = repository.suite(options.framework);
        let spec = repository.read_only();
        Ok(Search { options, repository, suite, spec })
    }

    /// The sandbox of the tests.
    pub fn sandbox(&self) -> &SandboxSpec {
        &self.spec
    }

    /// Runs the tests and finds the places that may have the fault. `show` gets a message
    /// about each step.
    ///
    /// # Errors
    /// One sentence if no such test exists or fails, or it enters no function of the project.
    pub async fn find(self, host: &dyn Host, show: &dyn Fn(&str)) -> Result<Fix, BenchmarkError> {
        let sandbox = host.open(&self.spec).await?;
        let found = self.search(&*sandbox, show).await;
        sandbox.close().await?;
        Fix::new(self, found?)
    }

    async fn search(
        &self,
        sandbox: &dyn Sandbox,
        show: &dyn Fn(&str),
    ) -> Result<Found, BenchmarkError> {
        let named = &self.options.tests;
        show("collecting the tests");
        let chosen = self.suite.find(named, sandbox).await?;
        require_importable(named, &chosen)?;
        show(&format!("running {} tests", chosen.tests.len()));
        let ran = self.run(&chosen.tests, sandbox).await?;
        let count = ran.results.len();
        let failing = failing(named, ran.results)?;
        let (failing, cpu) = match failing.len() == count {
            true => (failing, ran.cpu),
            false => self.alone(failing, sandbox).await?,
        };
        // A test that hangs would make every candidate's limit too long.
        let seconds = cpu.min(60.0);

        let beside = beside(&chosen, &failing);
        let test_files: BTreeSet<&str> =
            chosen.parts.values().map(|part| part.file.as_str()).collect();
        let (mut texts, _) = read_texts(&self.repository.tree(), self.options.framework)?;
        texts.retain(|file, _| !test_files.contains(file.as_str()));
        let all = places(&texts, self.options.framework, |file, error| {
            tracing::info!(file, %error, "a file does not parse");
        });

        show(&format!("recording what {} tests enter", beside.len()));
        let files: Vec<&str> = texts.keys().map(String::as_str).collect();
        let config = self.suite.config();
        let mut census = Census::default();
        census.add(take(config, &beside, &files, WALL, sandbox).await?);
        let others = self.others(&beside, sandbox).await;
        if !others.is_empty() {
            show(&format!("recording what the {} tests of other files enter", others.len()));
            if !census.add(take(config, &others, &files, OTHERS_WALL, sandbox).await?) {
                tracing::warn!(
                    "not all of the {} tests of other files ran within {OTHERS_WALL} s: those \
                     that did not run guard nothing",
                    others.len()
                );
            }
        }
        let suspects = suspects(&all, &failing, &census, self.options.places);
        if suspects.is_empty() {
            return Err(BenchmarkError::Broken(enters_nothing(&failing)));
        }

        let mut places = Vec::new();
        for (suspect, place) in suspects {
            let guards = guards(&beside, &census, &place, &failing);
            places.push((suspect, place, guards));
        }
        let mut seen = BTreeSet::new();
        let guards = places.iter().flat_map(|(_, _, guards)| guards);
        let guards: Vec<String> = guards.filter(|test| seen.insert(*test)).cloned().collect();
        show(&format!("running {} other tests", guards.len()));
        let ran = self.run(&guards, sandbox).await?;
        let passed: BTreeSet<&str> = ran
            .results
            .iter()
            .filter(|result| result.outcome == TestOutcome::Passed)
            .map(|result| result.id.as_str())
            .collect();
        for (_, _, guards) in &mut places {
            guards.retain(|test| passed.contains(test.as_str()));
        }
        Ok(Found { failing, seconds: [seconds, ran.cpu], places, all, texts })
    }

    /// The same tests, run without those that pass, and the CPU seconds that they took.
    async fn alone(
        &self,
        failing: Vec<TestResult>,
        sandbox: &dyn Sandbox,
    ) -> Result<(Vec<TestResult>, f64), BenchmarkError> {
        let ids: Vec<String> = failing.into_iter().map(|result| result.id).collect();
        let ran = self.run(&ids, sandbox).await?;
        match ran.results.iter().find(|result| result.outcome.is_fine()) {
            Some(TestResult { id, .. }) => Err(BenchmarkError::Broken(format!(
                "`{id}` fails only when it runs after other tests: no change of one place can \
                 be judged; name other tests with --test"
            ))),
            None => Ok((ran.results, ran.cpu)),
        }
    }

    async fn run(&self, tests: &[String], sandbox: &dyn Sandbox) -> Result<Ran, BenchmarkError> {
        let mut ran = Ran::default();
        for tests in tests.chunks(CHUNK) {
            let answer = self.suite.run_chunk(tests, WALL, sandbox).await?;
            ran.cpu += answer.cpu;
            ran.results.extend(answer.results);
        }
        Ok(ran)
    }

    /// The tests of other files. A suite that cannot be collected as a whole has none.
    async fn others(&self, beside: &[String], sandbox: &dyn Sandbox) -> Vec<String> {
        let beside: BTreeSet<&String> = beside.iter().collect();
        match self.suite.find(&[], sandbox).await {
            Ok(all) => all.tests.into_iter().filter(|test| !beside.contains(test)).collect(),
            Err(why) => {
                tracing::warn!("only the tests of the same files guard against new faults: {why}");
                Vec::new()
            }
        }
    }
}

/// Refuses parts that cannot be imported: their tests do not run, so nothing shows the place.
fn require_importable(named: &[String], chosen: &Chosen) -> Result<(), BenchmarkError> {
    let Some((part, why)) = chosen.broken.first() else { return Ok(()) };
    if named.is_empty() && !chosen.tests.is_empty() {
        tracing::warn!("{part} cannot be imported ({why}); its tests are left out");
        return Ok(());
    }
    Err(BenchmarkError::Broken(format!(
        "{part} cannot be imported: {why}; make it importable first, since only a test that \
         runs shows where it fails"
    )))
}

/// The tests that fail.
fn failing(named: &[String], results: Vec<TestResult>) -> Result<Vec<TestResult>, BenchmarkError> {
    let total = results.len();
    let all_passed = results.iter().all(|result| result.outcome == TestOutcome::Passed);
    let first = results.first().map_or(String::new(), |result| result.id.clone());
    let is_failing =
        |result: &TestResult| !result.outcome.is_fine() && result.outcome != TestOutcome::NotRun;
    let failing: Vec<TestResult> = results.into_iter().filter(is_failing).collect();
    let why = match (failing.len(), named.is_empty(), all_passed) {
        (1..=MAX_FAILING, ..) => return Ok(failing),
        (0, true, _) => format!("none of the {total} tests fails: there is nothing to fix"),
        (0, _, true) if total == 1 => {
            format!("the test `{first}` passes already: there is nothing to fix")
        }
        (0, _, true) => format!("the {total} tests pass already: there is nothing to fix"),
        (0, ..) => format!(
            "`{first}` does not fail: of the {total} tests some are skipped or expected to \
             fail; name one that fails with --test"
        ),
        (count, ..) => format!(
            "{count} of {total} tests fail, more than {MAX_FAILING}; name those that fail for \
             the same reason with --test"
        ),
    };
    Err(BenchmarkError::Broken(why))
}

/// All tests of the parts that have a failing one.
fn beside(chosen: &Chosen, failing: &[TestResult]) -> Vec<String> {
    let is_failing = |test: &String| failing.iter().any(|result| result.id == *test);
    let parts = chosen.parts.values().filter(|part| part.tests.iter().any(is_failing));
    parts.flat_map(|part| part.tests.iter().cloned()).collect()
}

/// The tests that must still pass: those beside the failing ones, and those that enter the
/// place.
fn guards(
    beside: &[String],
    census: &Census,
    place: &Place,
    failing: &[TestResult],
) -> Vec<String> {
    let entering = census.passing(&place.file, place.method.line);
    let mut seen = BTreeSet::new();
    beside
        .iter()
        .chain(entering)
        .filter(|test| !failing.iter().any(|result| result.id == **test) && seen.insert(*test))
        .take(MAX_GUARDS)
        .cloned()
        .collect()
}

fn enters_nothing(failing: &[TestResult]) -> String {
    let named = failing.first().map_or("", |result| result.id.as_str());
    format!(
        "`{named}` fails before it enters a function of the project that can be replaced: the \
         fault is in the test, or in code that runs when a module is imported"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(outcomes: &[TestOutcome]) -> Vec<TestResult> {
        let result = |(at, outcome): (usize, &TestOutcome)| TestResult {
            id: format!("t{at}"),
            outcome: *outcome,
            failure: None,
        };
        outcomes.iter().enumerate().map(result).collect()
    }

    #[track_caller]
    fn check(named: bool, outcomes: &[TestOutcome], expected: Result<&[&str], &str>) {
        let named = if named { vec!["t".to_string()] } else { Vec::new() };
        let found = failing(&named, results(outcomes)).map_err(|why| why.to_string());
        let found = found.map(|found| found.into_iter().map(|one| one.id).collect::<Vec<_>>());
        let expected = expected
            .map(|ids| ids.iter().map(ToString::to_string).collect())
            .map_err(str::to_string);
        assert_eq!(found, expected);
    }

    #[test]
    fn only_tests_that_fail_can_be_fixed() {
        use TestOutcome::{Errored, Failed, NotRun, Passed, Skipped};
        check(true, &[Passed, Failed, Errored, NotRun], Ok(&["t1", "t2"]));
        check(true, &[Passed], Err("the test `t0` passes already: there is nothing to fix"));
        check(true, &[Passed, Passed], Err("the 2 tests pass already: there is nothing to fix"));
        check(
            true,
            &[Skipped],
            Err("`t0` does not fail: of the 1 tests some are skipped or expected to fail; name \
                 one that fails with --test"),
        );
        check(false, &[Passed, Skipped], Err("none of the 2 tests fails: there is nothing to fix"));
        check(
            false,
            &[Failed; 21],
            Err("21 of 21 tests fail, more than 20; name those that fail for the same reason \
                 with --test"),
        );
    }

    #[test]
    fn a_part_that_cannot_be_imported_is_refused_if_it_is_named() {
        let broken = vec![("test_a.py".to_string(), "SyntaxError: no".to_string())];
        let chosen = Chosen { broken, tests: vec!["test_b.py::t".into()], ..Chosen::default() };
        assert!(require_importable(&[], &chosen).is_ok());
        let why = require_importable(&["test_a.py".into()], &chosen).unwrap_err().to_string();
        assert_eq!(
            why,
            "test_a.py cannot be imported: SyntaxError: no; make it importable first, since only \
             a test that runs shows where it fails"
        );
    }
}
