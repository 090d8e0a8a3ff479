//! Runs tests by their labels and reports the result of each.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fixfly_runtime::{
    Entry, Observation, Outcome, TestOutcome, TestReport, Tool, ToolContext, ToolError, ToolSpec,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::place::root;
use crate::{Open, arguments, parameters};

const NAME: &str = "run_tests";

pub(crate) const ENTRY: Entry<Open> =
    Entry { name: NAME, about: "run tests by their labels", open: || Box::new(RunTests) };

struct RunTests;

/// Maximum number of runs of the same tests.
const MOST: u32 = 5;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Labels, as the project's test runner takes them, for example `admin_views.tests` or `tests/test_a.py`.
    labels: Vec<String>,
    /// How often to run them again, to tell flaky tests from others: 0 if not given, 4 at most.
    #[serde(default)]
    again: u32,
}

#[async_trait]
impl Tool for RunTests {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.into(),
            description: "Runs tests of the project by their labels. Answers with what failed and how, and with what \
                          changed since tests last ran: fixed, broken, still failing, flaky."
                .into(),
            parameters: parameters::<Arguments>(),
        }
    }

    async fn call(&self, args: Value, context: ToolContext<'_>) -> Result<Observation, ToolError> {
        let Arguments { labels, again } = arguments(NAME, args)?;
        root(NAME, &context)?;
        if labels.is_empty() {
            return Err(ToolError::Refused(
                "`run_tests` was given no label; name the tests to run".into(),
            ));
        }
        refuse_odd(&labels)?;
        let tree = context.work_tree()?;
        let mut seen = tree.run_tests(context.task, &labels, context.sandbox).await?;
        let mut reports = Vec::from_iter(seen.tests.clone());
        for _ in 0..again.min(MOST - 1) {
            reports.extend(tree.run_tests(context.task, &labels, context.sandbox).await?.tests);
        }
        let flaky = flaky(&reports);
        if !flaky.is_empty() {
            seen.text += &format!("\nflaky, of {} runs: {}", reports.len(), flaky.join(", "));
            seen.outcome = Outcome::Failed;
            let results = seen.tests.iter_mut().flat_map(|report| &mut report.results);
            results
                .filter(|result| flaky.contains(&result.id.as_str()))
                .for_each(|result| result.outcome = TestOutcome::Flaky);
        } else if reports.len() > 1 {
            seen.text += &format!("\nthe same in each of {} runs", reports.len());
        }
        Ok(seen)
    }
}

/// Refuses labels that a test runner would take for options or for several lines.
pub(crate) fn refuse_odd(labels: &[String]) -> Result<(), ToolError> {
    let is_odd = |label: &&String| label.starts_with('-') || label.contains(['\n', '\0']);
    match labels.iter().find(is_odd) {
        Some(odd) => Err(ToolError::Refused(format!("`{NAME}`: {odd:?} is no label of a test"))),
        None => Ok(()),
    }
}

/// Tests whose results differ between runs.
fn flaky(reports: &[TestReport]) -> Vec<&str> {
    let mut outcomes: BTreeMap<&str, Vec<TestOutcome>> = BTreeMap::new();
    for result in reports.iter().flat_map(|report| &report.results) {
        outcomes.entry(&result.id).or_default().push(result.outcome);
    }
    let differs =
        |all: &Vec<TestOutcome>| all.len() < reports.len() || all.iter().any(|one| *one != all[0]);
    outcomes.into_iter().filter(|(_, all)| differs(all)).map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use fixfly_runtime::TestResult;

    use super::*;

    #[test]
    fn a_test_that_changes_by_itself_is_flaky() {
        use TestOutcome::{Failed, Passed};
        let report = |outcomes: &[(&str, TestOutcome)]| TestReport {
            results: outcomes
                .iter()
                .map(|(id, outcome)| TestResult {
                    id: (*id).into(),
                    outcome: *outcome,
                    failure: None,
                })
                .collect(),
        };
        let reports = [
            report(&[("a", Passed), ("b", Failed), ("c", Passed)]),
            report(&[("a", Passed), ("b", Passed)]),
        ];
        assert_eq!(flaky(&reports), ["b", "c"]);
        assert_eq!(flaky(&reports[..1]), [""; 0]);
    }
}
