//! What an observation means for the next turn. Pure.

use std::collections::BTreeMap;

use crate::episode::{Call, Feedback, Observation, TestDelta, TestOutcome, TestReport, Turn};
use crate::task::Budget;

/// Feedback on `observation`, which follows `turns`.
pub fn feedback(turns: &[Turn], observation: &Observation, left: Budget) -> Feedback {
    let before = turns.iter().rev().find_map(|turn| turn.observation.tests.as_ref());
    let delta = match (before, &observation.tests) {
        (before, Some(now)) => delta(before, now),
        (_, None) => TestDelta::default(),
    };
    let message = match (before, &observation.tests) {
        (Some(_), Some(_)) => message(&delta),
        _ => String::new(),
    };
    Feedback { delta, left, message }
}

/// Per-test change; a test that did not run before counts as not passing.
fn delta(before: Option<&TestReport>, now: &TestReport) -> TestDelta {
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

fn message(delta: &TestDelta) -> String {
    match changes(delta, usize::MAX).as_str() {
        "" => String::new(),
        changes => format!("Since the last attempt: {changes}."),
    }
}

/// What changed, with so many tests of each kind named at most; empty where
/// nothing did.
fn changes(delta: &TestDelta, named: usize) -> String {
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

/// Tests of an issue named in one message at most; there may be thousands.
const NAMED: usize = 10;
/// As often the same in a row is a loop.
const LOOP: usize = 3;

/// The message on a turn of an issue: what changed since tests last ran, and
/// that the policy goes in circles, if it does.
pub(crate) fn on_issue(
    delta: &TestDelta,
    turns: &[Turn],
    call: &Call,
    observation: &Observation,
) -> String {
    let ran_before = turns.iter().any(|turn| turn.observation.tests.is_some());
    let mut sentences = Vec::new();
    if observation.tests.is_some() && ran_before {
        let changes = changes(delta, NAMED);
        let changes = if changes.is_empty() { "nothing changed" } else { changes.as_str() };
        sentences.push(format!("Since the tests last ran: {changes}."));
    }
    let same =
        |turn: &&Turn| turn.action.call == *call && turn.observation.text == observation.text;
    let times = 1 + turns.iter().rev().take_while(same).count();
    if times >= LOOP {
        sentences.push(format!(
            "The same call has now given the same result {times} times in a row: do something else."
        ));
    }
    sentences.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::episode::TestResult;

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
        assert_eq!(message(&delta(Some(&report(before)), &report(now))), expected);
    }

    #[test]
    fn changes_are_told_apart() {
        use TestOutcome::{Errored, Failed, Flaky, NotRun, Passed};
        check(&[("a", Failed)], &[("a", Passed)], "Since the last attempt: fixed 1: a.");
        check(&[("a", Passed)], &[("a", Errored)], "Since the last attempt: broken 1: a.");
        check(&[("a", Passed)], &[("a", Passed)], "");
        check(
            &[("a", Failed), ("b", Failed), ("c", Passed)],
            &[("a", Passed), ("b", NotRun), ("c", Failed)],
            "Since the last attempt: fixed 1: a; broken 1: c; still failing 1: b.",
        );
        check(
            &[("a", Passed), ("b", Flaky)],
            &[("a", Flaky), ("b", Passed)],
            "Since the last attempt: flaky 1: a.",
        );
    }
}
