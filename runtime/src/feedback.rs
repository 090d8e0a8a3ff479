//! Changes between two test runs. Pure functions.

use std::collections::BTreeMap;

use crate::test_report::{TestDelta, TestOutcome, TestReport};
use crate::turn::{Observation, Turn};

/// Changes in `observation`, which follows `turns`, since the last test run.
pub(crate) fn delta(turns: &[Turn], observation: &Observation) -> TestDelta {
    match &observation.tests {
        Some(now) => between(last_run(turns), now),
        None => TestDelta::default(),
    }
}

/// Whether tests ran in any of these turns.
pub(crate) fn ran_before(turns: &[Turn]) -> bool {
    last_run(turns).is_some()
}

fn last_run(turns: &[Turn]) -> Option<&TestReport> {
    turns.iter().rev().find_map(|turn| turn.observation.tests.as_ref())
}

/// Changes per test. A test that did not run before counts as not passing.
fn between(before: Option<&TestReport>, now: &TestReport) -> TestDelta {
    let passed: BTreeMap<&str, bool> = before
        .into_iter()
        .flat_map(|report| &report.results)
        .filter(|result| result.outcome != TestOutcome::Flaky)
        .map(|result| (result.id.as_str(), result.outcome == TestOutcome::Passed))
        .collect();
    let mut delta = TestDelta::default();
    for result in &now.results {
        if result.outcome == TestOutcome::Flaky {
            delta.flaky.push(result.id.clone());
            continue;
        }
        let did = passed.get(result.id.as_str()).copied();
        match (did, result.outcome == TestOutcome::Passed) {
            (Some(true), true) | (None, true) => {}
            (Some(false), true) => delta.fixed.push(result.id.clone()),
            (Some(true), false) => delta.broken.push(result.id.clone()),
            (_, false) => delta.still_failing.push(result.id.clone()),
        }
    }
    delta
}

/// The changes as text, with at most `named` tests of each kind by name; empty if nothing
/// changed.
pub(crate) fn changes(delta: &TestDelta, named: usize) -> String {
    let part = |verb: &str, ids: &[String]| match ids.len() {
        0 => None,
        count if count <= named => Some(format!("{verb} {count}: {}", ids.join(", "))),
        count => {
            Some(format!("{verb} {count}: {}, and {} more", ids[..named].join(", "), count - named))
        }
    };
    let parts = [
        part("fixed", &delta.fixed),
        part("broken", &delta.broken),
        part("still failing", &delta.still_failing),
        part("flaky", &delta.flaky),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_report::TestResult;

    fn report(outcomes: &[(&str, TestOutcome)]) -> TestReport {
        TestReport {
            results: outcomes
                .iter()
                .map(|(id, outcome)| TestResult {
                    id: (*id).into(),
                    outcome: *outcome,
                    failure: None,
                })
                .collect(),
        }
    }

    #[track_caller]
    fn check(before: &[(&str, TestOutcome)], now: &[(&str, TestOutcome)], expected: &str) {
        assert_eq!(changes(&between(Some(&report(before)), &report(now)), 2), expected);
    }

    #[test]
    fn changes_are_told_apart() {
        use TestOutcome::{Errored, Failed, Flaky, NotRun, Passed};
        check(&[("a", Failed)], &[("a", Passed)], "fixed 1: a");
        check(&[("a", Passed)], &[("a", Errored)], "broken 1: a");
        check(&[("a", Passed)], &[("a", Passed)], "");
        check(
            &[("a", Failed), ("b", Failed), ("c", Passed)],
            &[("a", Passed), ("b", NotRun), ("c", Failed)],
            "fixed 1: a; broken 1: c; still failing 1: b",
        );
        check(&[("a", Passed), ("b", Flaky)], &[("a", Flaky), ("b", Passed)], "flaky 1: a");
    }
}
