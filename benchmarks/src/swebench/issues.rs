//! The benchmark of issues: tasks, test runs during an episode, and verdicts.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use fixfly_runtime::{
    Answer, Benchmark, BenchmarkError, Change, Entry, GradingRules, GroundTruth, History, Issue,
    Observation, Outcome, Sandbox, Split, Statement, Status, Task, TestOutcome, TestReport,
    TestResult, Verdict, WorkTree, printable,
};

use super::Instance;
use super::change;
use super::evaluate::{ROOT, quoted, tests, text};
use super::events::Events;
use super::grade::Grade;
use super::grader::Grader;
use super::log::Statuses;
use super::patch::files;
use crate::Open;

/// The benchmark's name.
pub const NAME: &str = "swebench";

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: NAME,
    about: "issues of real repositories, in SWE-bench's formats (--instances)",
    open: Open::Issues(|grader| Arc::new(Issues { grader })),
};

struct Issues {
    grader: Grader,
}

/// Maximum length of a log for the policy, in characters. Only its end is shown.
const LOG: usize = 8_000;
/// Maximum number of failing tests, or of paths, that are named.
const NAMED: usize = 30;

impl Issues {
    fn instance(&self, task: &Task) -> Result<&Instance, BenchmarkError> {
        self.grader.instance(&task.id)
    }

    fn task(&self, instance: &Instance) -> Result<Task, BenchmarkError> {
        let issue = Issue {
            repo: instance.repo.clone(),
            version: instance.version.clone(),
            text: instance.statement.clone(),
            root: ROOT.to_string(),
            manual: String::new(),
            history: History::All,
        };
        let statement = Statement::Issue(issue);
        Ok(Task {
            id: instance.id.clone(),
            benchmark: NAME.to_string(),
            budget: statement.budget(),
            statement,
            sandbox: self.grader.sandbox(instance)?,
            tools: Vec::new(),
        })
    }
}

#[async_trait]
impl Benchmark for Issues {
    async fn tasks(&self, split: Split) -> Result<Vec<Task>, BenchmarkError> {
        match split {
            Split::Benchmark => {
                self.grader.instances().iter().map(|instance| self.task(instance)).collect()
            }
            Split::Train | Split::Validation => Ok(Vec::new()),
        }
    }

    fn work_tree(&self) -> Option<&dyn WorkTree> {
        Some(self)
    }

    async fn judge(
        &self,
        task: &Task,
        patch: &str,
        fresh: &dyn Sandbox,
    ) -> Result<Verdict, BenchmarkError> {
        let instance = self.instance(task)?;
        let cleaned = self.grader.cleaned(instance, patch)?;
        if let Some(dropped) = named(&cleaned.dropped) {
            tracing::warn!(task = task.id, "left out of what is graded: {dropped}");
        }
        let mut verdict = Verdict {
            exact_match: changes(&cleaned.patch) == changes(&instance.patch),
            graded: Some(cleaned.patch.clone()).filter(|graded| graded != patch),
            ..Verdict::default()
        };
        if cleaned.patch.is_empty() {
            return Ok(verdict);
        }
        let graded = self.grader.grade(instance, (cleaned.patch.as_str(), true), fresh).await?;
        verdict.solved = graded.resolved();
        if let Grade::Ran { tests, .. } = graded.grade() {
            let lists = [&tests.fail_to_pass, &tests.pass_to_pass];
            verdict.tests.results = lists
                .into_iter()
                .flat_map(|[passed, failed]| {
                    let of = |names: &[String], outcome| {
                        names
                            .iter()
                            .map(move |id| TestResult { id: id.clone(), outcome, failure: None })
                            .collect::<Vec<_>>()
                    };
                    [of(passed, TestOutcome::Passed), of(failed, TestOutcome::Failed)].concat()
                })
                .collect();
        }
        verdict.tampering = graded.tampering;
        Ok(verdict)
    }

    fn facts(&self) -> BTreeMap<String, String> {
        self.grader.facts()
    }

    fn ground_truth(&self) -> &dyn GroundTruth {
        self
    }
}

#[async_trait]
impl WorkTree for Issues {
    async fn run_tests(
        &self,
        task: &Task,
        labels: &[String],
        sandbox: &dyn Sandbox,
    ) -> Result<Observation, BenchmarkError> {
        let spec = self.grader.spec(self.instance(task)?)?;
        let labels: Vec<String> = labels.iter().map(quoted).collect();
        let command = format!("{} {}", spec.test, labels.join(" "));
        let output = tests(sandbox, spec, &command, self.grader.timeout()).await?;
        let log = text(&output.stdout);
        let report = match spec.events {
            true => Events::read(&output.stderr).report(),
            false => report(&spec.log_parser.parse(&log, GradingRules::V5).unwrap_or_default()),
        };
        let outcome = match output.status {
            Status::TimedOut => Outcome::TimedOut,
            Status::Exited(0) if report.passed_or_skipped() => Outcome::Done,
            _ => Outcome::Failed,
        };
        let text = summary(&report, outcome, &log);
        let tests = Some(report).filter(|report| !report.results.is_empty());
        Ok(Observation { tests, ..Observation::new(outcome, text) })
    }

    async fn change(&self, task: &Task, sandbox: &dyn Sandbox) -> Result<Change, BenchmarkError> {
        let tree = self.grader.tree(self.instance(task)?)?;
        let change = change::change(tree, ROOT, sandbox).await?;
        for left_out in &change.left_out {
            tracing::warn!(task = task.id, "left out of the change: {left_out}");
        }
        Ok(change)
    }
}

impl GroundTruth for Issues {
    fn answer(&self, task: &Task, answer: Answer) -> Result<String, BenchmarkError> {
        Ok(match answer {
            Answer::Truth => self.instance(task)?.patch.clone(),
            Answer::Stub => String::new(),
        })
    }
}

/// The first of these paths with their reasons, for the log; `None` if there is none.
fn named(dropped: &[String]) -> Option<String> {
    let more = dropped.len().saturating_sub(NAMED);
    let named = printable(&dropped[..dropped.len() - more].join("; ")).into_owned();
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    (!dropped.is_empty()).then(|| named + &more)
}

/// The changed lines of a patch.
fn changes(patch: &str) -> Vec<&[u8]> {
    files(patch.as_bytes()).into_iter().flat_map(|file| file.changes).collect()
}

fn report(statuses: &Statuses) -> TestReport {
    let outcome = |status: &str| match status {
        "PASSED" => TestOutcome::Passed,
        "FAILED" => TestOutcome::Failed,
        "SKIPPED" => TestOutcome::Skipped,
        "XFAIL" => TestOutcome::ExpectedFailure,
        _ => TestOutcome::Errored,
    };
    let results = statuses.iter().map(|(id, status)| TestResult {
        id: id.to_string(),
        outcome: outcome(status),
        failure: None,
    });
    TestReport { results: results.collect() }
}

/// The result of a test run, as text for the policy.
pub(crate) fn summary(report: &TestReport, outcome: Outcome, log: &str) -> String {
    let is_bad = |result: &&TestResult| !result.outcome.is_fine();
    let failing: Vec<&str> =
        report.results.iter().filter(is_bad).map(|result| result.id.as_str()).collect();
    let mut text = format!(
        "{} tests ran, {} passed, {} failed",
        report.results.len(),
        report.count_passed(),
        failing.len()
    );
    if outcome == Outcome::TimedOut {
        text += "; the time limit was met and all was killed";
    }
    if report.results.is_empty() {
        text = "no test ran; look at the labels, and at what was printed".to_string();
    }
    if !failing.is_empty() {
        let more = failing.len().saturating_sub(NAMED);
        text += &format!("\nfailed: {}", failing[..failing.len() - more].join(", "));
        if more > 0 {
            text += &format!(", and {more} more");
        }
    }
    if outcome != Outcome::Done {
        let start = log.char_indices().rev().nth(LOG - 1).map_or(0, |(at, _)| at);
        let cut =
            if start > 0 { format!("(... {start} bytes left out ...)\n") } else { String::new() };
        text += &format!("\nThe end of what was printed:\n{cut}{}", log[start..].trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_are_not_graded_are_named() {
        let check = |dropped: &[String], expected: Option<&str>| {
            assert_eq!(named(dropped).as_deref(), expected);
        };
        check(&[], None);
        check(
            &["a.py: no text".into(), "t.py: a test".into()],
            Some("a.py: no text; t.py: a test"),
        );
        check(&["a\u{202e}.py: no text".into()], Some("a\\u202e.py: no text"));
        let many = named(&vec!["x: no text".to_string(); NAMED + 3]).unwrap();
        assert!(many.ends_with("; x: no text; and 3 more"), "{many}");
    }
}
