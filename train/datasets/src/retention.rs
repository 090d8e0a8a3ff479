//! Which part of an episode goes into a training set, after *Fixing on the Fly*, section
//! 3.2.2.

use fixfly_runtime::{Call, Episode, EpisodeSummary, Outcome};

/// The useful part of an episode. Turns count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retention {
    /// A failing attempt and the attempt that fixed it. The paper does not state which
    /// failing turn is kept. Here it is the last one, because the fix answers its feedback.
    Repaired {
        /// The failing turn.
        failing: usize,
        /// The turn that solved the task.
        fixed: usize,
    },
    /// No attempt passed. The last failing attempt is combined with the original method.
    Unsolved {
        /// The failing turn.
        failing: usize,
    },
    /// The first attempt passed: an example of writing a method, not of fixing one.
    AtOnce,
    /// Nothing: the infrastructure failed, or no attempt failed in a useful way.
    Nothing,
}

/// The useful part of `episode`.
pub fn retention(episode: &Episode) -> Retention {
    let failing = failing_turns(episode).pop();
    part(episode.infrastructure_failure(), episode.solved_at(), failing)
}

/// The useful part of the episode with this summary.
pub fn retention_of_summary(episode: &EpisodeSummary) -> Retention {
    let turns = episode.turns.iter().zip(1..);
    let failing = turns.filter(|(turn, _)| usable(turn.outcome, turn.tool.is_some()));
    let failing = failing.map(|(_, at)| at).last();
    part(episode.infrastructure_failure(), episode.solved_at(), failing)
}

/// `failing`: the last failing attempt.
fn part(failure: bool, solved_at: Option<usize>, failing: Option<usize>) -> Retention {
    if failure {
        return Retention::Nothing;
    }
    match (solved_at, failing) {
        (Some(1), _) => Retention::AtOnce,
        (Some(fixed), Some(failing)) => Retention::Repaired { failing, fixed },
        (None, Some(failing)) => Retention::Unsolved { failing },
        (_, None) => Retention::Nothing,
    }
}

/// All failing attempts of an episode, counted from 1. They may precede the answer in a
/// conversation.
pub(crate) fn failing_turns(episode: &Episode) -> Vec<usize> {
    let turns = episode.turns.iter().zip(1..);
    let calls = |call: &Call| matches!(call, Call::Tool { .. });
    turns
        .filter(|(turn, _)| usable(turn.observation.outcome, calls(&turn.action.call)))
        .map(|(_, at)| at)
        .collect()
}

/// Whether an attempt failed and has code and feedback. Malformed answers and refused calls
/// have no code, and a tampered pass must not be learned.
fn usable(outcome: Outcome, calls_tool: bool) -> bool {
    let failed = match outcome {
        Outcome::Failed
        | Outcome::Invalid
        | Outcome::TimedOut
        | Outcome::Crashed
        | Outcome::OutOfMemory
        | Outcome::Exited => true,
        Outcome::Passed
        | Outcome::Tampered
        | Outcome::Done
        | Outcome::Refused
        | Outcome::Submitted => false,
    };
    failed && calls_tool
}

#[cfg(test)]
mod tests {
    use fixfly_runtime::{
        Action, Boundary, Budget, DescribedBy, End, FailureKind, Feedback, Limit, Method,
        Observation, Provenance, SCHEMA, SandboxSpec, Statement, Task, TestDelta, TestReport,
        Timings, Turn, Usage, Verdict,
    };

    use super::*;

    fn turn(outcome: Outcome) -> Turn {
        let call = match outcome {
            Outcome::Refused => Call::Malformed("no code".into()),
            _ => Call::Tool { name: "submit_method".into(), args: Default::default() },
        };
        Turn {
            action: Action {
                text: String::new(),
                reasoning: None,
                call,
                usage: Usage::default(),
                generation: None,
            },
            observation: Observation::new(outcome, ""),
            feedback: Feedback {
                delta: TestDelta::default(),
                left: Budget { turns: 0, tokens: None, seconds: None, usd: None },
                message: String::new(),
            },
            timings: Timings::default(),
        }
    }

    fn episode(end: End, outcomes: &[Outcome]) -> Episode {
        let method = Method {
            file: "a.py".into(),
            class_name: "A".into(),
            name: "f".into(),
            declaration: "def f(self):".into(),
            decorators: Vec::new(),
            description: String::new(),
            described_by: DescribedBy::Nothing,
            content: String::new(),
            faulty: None,
            options: fixfly_runtime::FaultOptions::default(),
        };
        let verdict = (end == End::Solved).then(|| Verdict {
            solved: true,
            hidden_tests_pass: None,
            tests: TestReport::default(),
            wider: None,
            wider_failed: Vec::new(),
            tampering: None,
            review: Vec::new(),
            exact_match: false,
            graded: None,
        });
        Episode {
            schema: SCHEMA,
            task: Task {
                id: "a.py::A.f".into(),
                benchmark: "b".into(),
                statement: Statement::Method(method),
                sandbox: SandboxSpec::default(),
                tools: Vec::new(),
                budget: Budget { turns: 5, tokens: None, seconds: None, usd: None },
            },
            policy: "null".into(),
            provenance: Provenance::default(),
            turns: outcomes.iter().copied().map(turn).collect(),
            end,
            patch: None,
            left_out: Vec::new(),
            verdict,
        }
    }

    #[track_caller]
    fn check(end: End, outcomes: &[Outcome], expected: Retention) {
        let episode = episode(end, outcomes);
        assert_eq!(retention(&episode), expected);
        assert_eq!(retention_of_summary(&EpisodeSummary::of(&episode)), expected);
    }

    const SPENT: End = End::BudgetSpent { limit: Limit::Turns };

    #[test]
    fn a_repair_keeps_the_last_failing_turn_and_the_fix() {
        use Outcome::{Crashed, Failed, Invalid, Passed, Refused, TimedOut};
        check(End::Solved, &[Failed, Passed], Retention::Repaired { failing: 1, fixed: 2 });
        check(
            End::Solved,
            &[Failed, Crashed, Passed],
            Retention::Repaired { failing: 2, fixed: 3 },
        );
        check(End::Solved, &[Invalid, Passed], Retention::Repaired { failing: 1, fixed: 2 });
        check(
            End::Solved,
            &[TimedOut, Refused, Passed],
            Retention::Repaired { failing: 1, fixed: 3 },
        );
        check(End::Solved, &[Refused, Passed], Retention::Nothing);
    }

    #[test]
    fn a_first_attempt_that_passes_is_an_example_of_writing() {
        check(End::Solved, &[Outcome::Passed], Retention::AtOnce);
    }

    #[test]
    fn an_unsolved_episode_keeps_its_last_failing_turn() {
        use Outcome::{Exited, Failed, OutOfMemory, Refused, Tampered};
        check(SPENT, &[Failed; 5], Retention::Unsolved { failing: 5 });
        check(SPENT, &[OutOfMemory, Exited, Refused], Retention::Unsolved { failing: 2 });
        check(End::Submitted, &[Failed], Retention::Unsolved { failing: 1 });
        check(SPENT, &[Failed, Tampered], Retention::Unsolved { failing: 1 });
        check(SPENT, &[Tampered], Retention::Nothing);
        check(SPENT, &[Refused; 5], Retention::Nothing);
        check(End::Submitted, &[], Retention::Nothing);
    }

    #[test]
    fn a_failure_of_the_world_teaches_nothing_one_of_the_model_does() {
        let failed = |kind| End::Failed { at: Boundary::Policy, kind, why: "gone".into() };
        let turns = [Outcome::Failed, Outcome::Failed];
        check(failed(FailureKind::Infrastructure), &turns, Retention::Nothing);
        check(failed(FailureKind::Model), &turns, Retention::Unsolved { failing: 2 });
        check(failed(FailureKind::Model), &[], Retention::Nothing);
    }
}
