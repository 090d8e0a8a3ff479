//! Changes between two test runs, and what a turn has in common with earlier ones.

use std::collections::{BTreeMap, HashMap};

use crate::test_report::{TestDelta, TestOutcome, TestReport};
use crate::turn::{Call, Observation, Turn};

/// What feedback needs of earlier turns. It is extended turn by turn, so that a turn takes the
/// same time however many come before it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Earlier {
    /// The last turn whose tests ran.
    last_run: Option<usize>,
    /// Turns at the end with the same call and the same result.
    in_a_row: usize,
    /// The first turn of each answer, if answers are compared.
    answers: Option<HashMap<String, usize>>,
}

impl Earlier {
    /// Of these turns.
    pub(crate) fn of(turns: &[Turn], compares_answers: bool) -> Self {
        let pairs = turns.iter().rev().zip(turns.iter().rev().skip(1));
        let equal = pairs
            .take_while(|(turn, before)| is_same(before, &turn.action.call, &turn.observation));
        let mut earlier = Earlier {
            last_run: turns.iter().rposition(|turn| turn.observation.tests.is_some()),
            in_a_row: turns.len().min(1 + equal.count()),
            answers: compares_answers.then(HashMap::new),
        };
        turns.iter().enumerate().for_each(|(at, turn)| earlier.add_answer(at, turn));
        earlier
    }

    /// Adds the last of these turns.
    pub(crate) fn add_last(&mut self, turns: &[Turn]) {
        let [before @ .., turn] = turns else { return };
        self.in_a_row = self.in_a_row_with(before, &turn.action.call, &turn.observation);
        if turn.observation.tests.is_some() {
            self.last_run = Some(before.len());
        }
        self.add_answer(before.len(), turn);
    }

    fn add_answer(&mut self, at: usize, turn: &Turn) {
        if let (Some(answers), Some(code)) = (&mut self.answers, turn.action.call.code())
            && !answers.contains_key(code)
        {
            answers.insert(code.to_owned(), at);
        }
    }

    /// Whether tests ran.
    pub(crate) fn ran_tests(&self) -> bool {
        self.last_run.is_some()
    }

    /// The index of the first turn with this answer, if answers are compared.
    pub(crate) fn answered(&self, code: &str) -> Option<usize> {
        self.answers.as_ref()?.get(code).copied()
    }

    /// How many turns in a row have this call and this result, with the one that follows
    /// `turns`.
    pub(crate) fn in_a_row_with(
        &self,
        turns: &[Turn],
        call: &Call,
        observation: &Observation,
    ) -> usize {
        match turns.last().is_some_and(|turn| is_same(turn, call, observation)) {
            true => self.in_a_row + 1,
            false => 1,
        }
    }

    /// Changes in `observation`, which follows `turns`, since the last test run.
    pub(crate) fn delta(&self, turns: &[Turn], observation: &Observation) -> TestDelta {
        let before = self.last_run.and_then(|at| turns.get(at)?.observation.tests.as_ref());
        match &observation.tests {
            Some(now) => between(before, now),
            None => TestDelta::default(),
        }
    }
}

fn is_same(turn: &Turn, call: &Call, observation: &Observation) -> bool {
    #[cfg(test)]
    tests::COMPARED.set(tests::COMPARED.get() + 1);
    turn.action.call == *call && turn.observation.text == observation.text
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
    use std::cell::Cell;

    use serde_json::json;

    use super::*;
    use crate::budget::Budget;
    use crate::statement::{DescribedBy, FaultOptions, History, Issue, Method, Statement};
    use crate::test_report::TestResult;
    use crate::turn::{Action, Outcome, Timings, Usage};

    thread_local! {
        /// Turns that were compared with another one.
        pub(super) static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    fn statements() -> [Statement; 2] {
        let (repo, version, text) = ("a/b".into(), "1".into(), "It fails.".into());
        let (root, manual, history) = ("/a".into(), String::new(), History::Last(5));
        let method = Method {
            file: "a.py".into(),
            class_name: "A".into(),
            name: "f".into(),
            declaration: "def f(self):".into(),
            decorators: Vec::new(),
            description: String::new(),
            described_by: DescribedBy::Nothing,
            content: String::new(),
            faulty: Some("def f(self):\n    return 1\n".into()),
            options: FaultOptions { mention_repeats: true, ..FaultOptions::default() },
        };
        let issue = Issue { repo, version, text, root, manual, history };
        [Statement::Issue(issue), Statement::Method(method)]
    }

    /// Makes so many turns, and compares each feedback with the one of all turns at once.
    /// Returns how many turns were compared.
    fn compared(statement: &Statement, count: usize) -> usize {
        let (mut turns, mut total) = (Vec::new(), 0);
        let mut earlier = statement.earlier(&turns);
        for at in 0..count {
            // Some in a row are equal, some have tests, some repeat an answer.
            let code = format!("{}", at / 7 % 5);
            let call = Call::Tool { name: "submit_method".into(), args: json!({ "code": code }) };
            let mut observation = Observation::new(Outcome::Failed, format!("{}", at / 7));
            observation.tests = (at % 5 == 0).then(|| report(&[("a", TestOutcome::Failed)]));
            let left = Budget { turns: 1, tokens: None, seconds: None, usd: None };
            COMPARED.set(0);
            let feedback =
                statement.feedback_after((&turns, &earlier), &call, &observation, left.clone());
            total += COMPARED.get();
            assert_eq!(feedback, statement.feedback(&turns, &call, &observation, left), "{at}");
            let (text, reasoning, usage) = (code, None, Usage::default());
            let action = Action { text, reasoning, call, usage, generation: None };
            turns.push(Turn { action, observation, feedback, timings: Timings::default() });
            COMPARED.set(0);
            earlier.add_last(&turns);
            total += COMPARED.get();
            assert_eq!(earlier, statement.earlier(&turns), "{at}");
        }
        total
    }

    #[test]
    fn a_turn_is_compared_with_one_other_however_many_there_are() {
        for statement in statements() {
            for count in [10, 300] {
                let most = 2 * count;
                let found = compared(&statement, count);
                assert!(found <= most, "{found} comparisons in {count} turns");
            }
        }
    }

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
