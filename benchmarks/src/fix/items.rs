//! The benchmark: one task for each place, judged by the failing tests and the guards.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fixfly_runtime::answer::repaired;
use fixfly_runtime::{
    Answer, Benchmark, BenchmarkError, Evaluator, Example, GroundTruth, Observation, Outcome,
    Sandbox, Split, Tally, Task, TestResult, Verdict,
};
use serde_json::json;

use super::NAME;
use super::rank::{Suspect, list};
use super::search::{Found, Search};
use crate::faults::edit_form;
use crate::manifest::{RunPath, short_hash};
use crate::methods::{first_verdict, patch, survived};
use crate::observe::{failures, observation};
use crate::places::{Place, Places};
use crate::project::method_task;
use crate::server::{self, Config, Limits, Server};
use crate::source::{self, Describer, Reference};
use crate::support::PARTIAL_SANDBOXES;
use crate::swebench::tree::tree_hash;

/// A failing test to fix, in one of several places.
pub struct Fix {
    pub(super) search: Search,
    pub(super) failing: Vec<TestResult>,
    /// CPU seconds of the failing tests, and of the guards.
    seconds: [f64; 2],
    /// The places, the likeliest first.
    pub(super) items: Vec<Item>,
    /// The project's other functions and methods.
    examples: Vec<Example>,
    facts: BTreeMap<String, String>,
}

/// One place.
pub(super) struct Item {
    pub(super) suspect: Suspect,
    pub(super) place: Place,
    pub(super) guards: Vec<String>,
    task: Task,
}

impl Fix {
    pub(super) fn new(search: Search, found: Found) -> Result<Fix, BenchmarkError> {
        let Found { failing, seconds, places, all, texts } = found;
        let texts = texts.iter().map(|(file, text)| (file.clone(), text.to_string())).collect();
        let describer = Describer::new(&texts, Reference::default());
        let is_suspect = |place: &Place| {
            places.iter().any(|(suspect, ..)| {
                suspect.file == place.file && suspect.line == place.method.line
            })
        };
        let examples =
            all.iter().filter(|place| !is_suspect(place)).map(|place| example(place, &describer));
        let examples = examples.collect();
        let items = places.into_iter().map(|(suspect, place, guards)| {
            let task = task(&suspect, &place, &failing, &describer, &search);
            Item { suspect, place, guards, task }
        });
        let items = items.collect();
        let facts = facts(&search, &failing)?;
        Ok(Fix { search, failing, seconds, items, examples, facts })
    }

    /// The places, the likeliest first.
    pub fn suspects(&self) -> impl Iterator<Item = &Suspect> {
        self.items.iter().map(|item| &item.suspect)
    }

    /// What fails, and the places to try, as text.
    pub fn list(&self) -> String {
        let count = self.failing.len();
        let mut text =
            format!("{count} {} failing:\n", if count == 1 { "test is" } else { "tests are" });
        for result in &self.failing {
            let why = result.failure.as_ref().map_or(String::new(), |failure| {
                let message = failure.message.lines().next().unwrap_or_default();
                format!(": {}: {message}", failure.exception)
            });
            text += &format!("  {}{}\n", result.id, why.trim_end_matches([':', ' ']));
        }
        text + &list(self.suspects())
    }

    /// The same as JSON.
    pub fn list_json(&self) -> String {
        let tests: Vec<&str> = self.failing.iter().map(|result| result.id.as_str()).collect();
        let places: Vec<&Suspect> = self.suspects().collect();
        json!({ "tests": tests, "places": places }).to_string()
    }

    pub(super) fn item(&self, task: &Task) -> Result<&Item, BenchmarkError> {
        self.items.iter().find(|item| item.suspect.id == task.id).ok_or_else(|| {
            let id = &task.id;
            BenchmarkError::Broken(format!("{id} is no place that the failing tests point at"))
        })
    }

    fn targets(&self) -> Vec<String> {
        self.failing.iter().map(|result| result.id.clone()).collect()
    }

    fn config(&self) -> &Config {
        self.search.suite.config()
    }

    async fn run(
        &self,
        place: &Place,
        candidate: &str,
        (tests, seconds): (Vec<String>, f64),
        sandbox: &dyn Sandbox,
    ) -> Result<server::Answer, BenchmarkError> {
        let request = place.request(candidate, RunPath::Cold, tests, Limits::for_tests(seconds));
        Server { sandbox, config: self.config() }.run(&request).await
    }

    async fn run_targets(
        &self,
        place: &Place,
        candidate: &str,
        sandbox: &dyn Sandbox,
    ) -> Result<server::Answer, BenchmarkError> {
        self.run(place, candidate, (self.targets(), self.seconds[0]), sandbox).await
    }

    /// The guards that do not pass with a candidate. They run in a process of their own, as
    /// they did with the original, so that no failing test affects them.
    async fn broken(
        &self,
        item: &Item,
        candidate: &str,
        sandbox: &dyn Sandbox,
    ) -> Result<Vec<TestResult>, BenchmarkError> {
        if item.guards.is_empty() {
            return Ok(Vec::new());
        }
        let tests = (item.guards.clone(), self.seconds[1]);
        let answer = self.run(&item.place, candidate, tests, sandbox).await?;
        Ok(answer.bad().cloned().collect())
    }

    /// Runs a passing candidate again with a body that raises at its end. True if the tests
    /// still pass: they do not depend on it. A generator that its tests never exhaust does
    /// not reach its end, so its body is replaced.
    async fn survives_sabotage(
        &self,
        item: &Item,
        candidate: &str,
        sandbox: &dyn Sandbox,
    ) -> Result<bool, BenchmarkError> {
        let Ok(sabotaged) = source::sabotaged(candidate) else { return Ok(false) };
        let answer = self.run_targets(&item.place, &sabotaged, sandbox).await?;
        if answer.outcome != Outcome::Passed || !item.place.method.is_generator {
            return Ok(answer.outcome == Outcome::Passed);
        }
        let stub = source::stub(&item.place.text, &item.place.method);
        let answer = self.run_targets(&item.place, &stub, sandbox).await?;
        Ok(answer.outcome == Outcome::Passed)
    }
}

/// The task to fix a place.
fn task(
    suspect: &Suspect,
    place: &Place,
    failing: &[TestResult],
    describer: &Describer,
    search: &Search,
) -> Task {
    let mut method = place.statement(describer.describe(&place.file, &place.method));
    method.description = description(&method.description, failing);
    method.faulty = Some(place.truth());
    method_task(NAME, &suspect.id, method, &search.spec)
}

/// Another function or method of the project.
fn example(place: &Place, describer: &Describer) -> Example {
    let mut method = place.statement(describer.describe(&place.file, &place.method));
    method.content.clear();
    Example { id: place.id(), method, source: place.truth() }
}

/// What the method does, and how the tests fail.
fn description(own: &str, failing: &[TestResult]) -> String {
    let shown = failures(&failing.iter().collect::<Vec<_>>(), own.len());
    let head = match failing.len() {
        1 => "This test fails:".to_string(),
        count => format!("These {count} tests fail:"),
    };
    format!("{}\n\n{head}\n{}", own.trim(), shown.trim()).trim_start().to_string()
}

/// What determines the tasks and verdicts.
fn facts(
    search: &Search,
    failing: &[TestResult],
) -> Result<BTreeMap<String, String>, BenchmarkError> {
    let ids: Vec<&str> = failing.iter().map(|result| result.id.as_str()).collect();
    let fact = |name: &str, value: &str| (name.to_string(), value.to_string());
    Ok(BTreeMap::from([
        fact("repository", search.repository.name()),
        fact("tree", &tree_hash(&search.repository.tree())?),
        fact("framework", search.options.framework),
        fact("failing_tests_hash", &short_hash(ids.join("\n"))),
    ]))
}

#[async_trait]
impl Benchmark for Fix {
    async fn tasks(&self, _: Split) -> Result<Vec<Task>, BenchmarkError> {
        Ok(self.items.iter().map(|item| item.task.clone()).collect())
    }

    fn evaluator(&self) -> Option<&dyn Evaluator> {
        Some(self)
    }

    async fn judge(
        &self,
        task: &Task,
        candidate: &str,
        fresh: &dyn Sandbox,
    ) -> Result<Verdict, BenchmarkError> {
        let item = self.item(task)?;
        let candidate = &*Places::from(item.place.clone()).reduced(&task.id, candidate)?[0];
        let answer = self.run_targets(&item.place, candidate, fresh).await?;
        let mut verdict = first_verdict(&answer, candidate);
        if verdict.solved && self.survives_sabotage(item, candidate, fresh).await? {
            survived(&mut verdict);
        } else if verdict.solved {
            let (broken, total) = (self.broken(item, candidate, fresh).await?, item.guards.len());
            verdict.wider = Some(Tally { passed: total - broken.len(), total });
            verdict.wider_failed = broken.iter().map(|result| result.id.clone()).collect();
            verdict.hidden_tests_pass = Some(broken.is_empty());
            verdict.solved = broken.is_empty();
            verdict.tests.results.extend(broken);
        }
        Ok(verdict)
    }

    fn unsupported(&self, _: &Task, sandbox: &str) -> Option<String> {
        let is_partial = PARTIAL_SANDBOXES.contains(&sandbox);
        is_partial.then(|| "it does not run the repository's own interpreter".to_string())
    }

    fn test_seconds(&self, _: &Task) -> Option<f64> {
        Some(self.seconds[0])
    }

    fn facts(&self) -> BTreeMap<String, String> {
        self.facts.clone()
    }

    fn ground_truth(&self) -> &dyn GroundTruth {
        self
    }
}

#[async_trait]
impl Evaluator for Fix {
    async fn evaluate(
        &self,
        task: &Task,
        candidate: &str,
        sandbox: &dyn Sandbox,
    ) -> Result<Observation, BenchmarkError> {
        let item = self.item(task)?;
        let place = &item.place;
        let method = match repaired(&place.truth(), candidate, edit_form(task)) {
            Ok(method) => method,
            Err(why) => return Ok(Observation::invalid(why.to_string())),
        };
        let candidate = match source::candidate_for(&method, &place.method, &place.text) {
            Ok(candidate) => candidate,
            Err(invalid) => return Ok(Observation::invalid(invalid.to_string())),
        };
        let answer = self.run_targets(place, &candidate.source, sandbox).await?;
        let (mut outcome, mut report) = (answer.outcome, answer.report());
        let mut text = observation(outcome, &report, &candidate.notes);
        if outcome == Outcome::Passed {
            let broken = self.broken(item, &candidate.source, sandbox).await?;
            text += &guarded(&broken, item.guards.len(), text.len());
            if !broken.is_empty() {
                outcome = Outcome::Failed;
            }
            report.results.extend(broken);
        }
        Ok(Observation {
            text,
            outcome,
            tests: Some(report),
            candidate: Some(candidate.source),
            patch: None,
            left_out: Vec::new(),
        })
    }

    fn patch(&self, task: &Task, candidate: &str) -> Result<String, BenchmarkError> {
        let Item { place, .. } = self.item(task)?;
        let spliced = source::spliced(&place.text, &place.method, candidate);
        Ok(patch(&place.file, &place.text, &spliced))
    }
}

/// What a candidate that passes the failing tests does to the guards.
fn guarded(broken: &[TestResult], total: usize, used: usize) -> String {
    if broken.is_empty() {
        return format!("All {total} other tests that passed before still pass.\n");
    }
    let count = broken.len();
    let head = format!(
        "But the change breaks {count} of {total} other tests, which passed before. They must \
         still pass.\n"
    );
    let shown = failures(&broken.iter().collect::<Vec<_>>(), used + head.len());
    head + &shown
}

impl GroundTruth for Fix {
    fn examples(&self) -> Result<Vec<Example>, BenchmarkError> {
        Ok(self.examples.clone())
    }

    fn answer(&self, task: &Task, _: Answer) -> Result<String, BenchmarkError> {
        Err(BenchmarkError::Broken(format!("{}: nobody has the right answer", task.id)))
    }
}

#[cfg(test)]
mod tests {
    use fixfly_runtime::{TestFailure, TestOutcome};

    use super::*;

    fn failed(id: &str) -> TestResult {
        let failure = TestFailure {
            exception: "AssertionError".into(),
            message: "3 != 2".into(),
            traceback: "Traceback (most recent call last):\n  File \"test_cart.py\", line 9, in \
                        test_total\n    self.assertEqual(cart.total(), 2)\nAssertionError: 3 != 2\n"
                .into(),
            output: String::new(),
        };
        TestResult { id: id.into(), outcome: TestOutcome::Failed, failure: Some(failure) }
    }

    #[test]
    fn a_policy_reads_how_the_test_fails() {
        insta::assert_snapshot!(
            description("The sum of all prices.", &[failed("test_cart.T.test_total")]),
            @r#"
        The sum of all prices.

        This test fails:
        FAILED: test_cart.T.test_total
        Traceback (most recent call last):
          File "test_cart.py", line 9, in test_total
            self.assertEqual(cart.total(), 2)
        AssertionError: 3 != 2
        "#
        );
        assert!(description("", &[failed("a"), failed("b")]).starts_with("These 2 tests fail:\n"));
    }

    #[test]
    fn a_policy_reads_what_its_change_breaks() {
        assert_eq!(guarded(&[], 7, 0), "All 7 other tests that passed before still pass.\n");
        let text = guarded(&[failed("test_cart.T.test_name")], 7, 0);
        assert!(text.starts_with(
            "But the change breaks 1 of 7 other tests, which passed before. They must still \
             pass.\n\nFAILED: test_cart.T.test_name\nTraceback"
        ));
    }
}
