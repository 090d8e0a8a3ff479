//! A summary of an episode: what tables, lists and filters need, without the texts. An
//! index keeps one for each episode of a run.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::answer::repaired;
use crate::episode::{End, Episode, FailureKind};
use crate::generation::{Finish, Speculation};
use crate::statement::{DescribedBy, Method, TaskKind};
use crate::test_report::{TestOutcome, TestReport};
use crate::text::{SharedStr, StrPool};
use crate::turn::{Call, Outcome, Turn, Usage};
use crate::unusable::{UnusableReason, unusable};

/// A summary of an episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpisodeSummary {
    /// Id of the task.
    pub task: SharedStr,
    /// Index of the sample of this task, from 0.
    pub sample: u32,
    /// Kind of the task.
    pub kind: TaskKind,
    /// The file that a method is in; `None` for issues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<SharedStr>,
    /// What describes the method; `None` for issues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub described_by: Option<DescribedBy>,
    /// Whether the task shows a faulty method.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub faulty: bool,
    /// The task's limit of turns.
    pub turn_limit: u32,
    /// Name of the policy.
    pub policy: SharedStr,
    /// Start, RFC 3339, UTC.
    pub started: String,
    /// Wall-clock seconds from start to end.
    pub seconds: f64,
    /// The turns, in order.
    pub turns: Vec<TurnSummary>,
    /// Why the episode ended.
    pub end: End,
    /// Whether there is a patch.
    pub patch: bool,
    /// The benchmark's verdict; `None` if there is no patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictSummary>,
}

/// A summary of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TurnSummary {
    /// The outcome.
    pub outcome: Outcome,
    /// Name of the tool; `None` if the action called none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<SharedStr>,
    /// The exception of the first failing test, if the turn failed and a test reported one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<SharedStr>,
    /// Tests that passed, and all tests that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<(usize, usize)>,
    /// The cost of the action.
    pub usage: Usage,
    /// The model's part; `None` if no model generated the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelTurn>,
    /// Milliseconds of the policy's decision.
    pub act_ms: u64,
    /// Milliseconds of the tool call.
    pub call_ms: u64,
    /// The idea, if the policy's reasoning begins with `idea: WORD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idea: Option<SharedStr>,
    /// Whether the answer is equal to an earlier one of the episode.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
    /// Whether the answer removes a line that the faulty method does not have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removes_missing: bool,
}

/// How a model generated an action, in brief.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelTurn {
    /// Why the generation stopped.
    pub finish: Finish,
    /// Words and characters of the reasoning, if there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<(u64, u64)>,
    /// What speculation drafted; `None` if nothing was drafted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speculation: Option<Speculation>,
    /// Why the answer is not usable; `None` if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<UnusableReason>,
}

/// A summary of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictSummary {
    /// Whether the task is solved.
    pub solved: bool,
    /// Whether all hidden tests passed; `None` if there are none or the task is not solved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_tests_pass: Option<bool>,
    /// Whether the change equals the reference.
    pub exact_match: bool,
    /// Whether a person should read the change before they trust it.
    pub to_review: bool,
    /// Whether a control detected tampering.
    pub tampering: bool,
}

impl EpisodeSummary {
    /// The summary of an episode.
    pub fn of(episode: &Episode) -> Self {
        let method = episode.task.statement.method();
        let verdict = episode.verdict.as_ref().map(|verdict| VerdictSummary {
            solved: verdict.solved,
            hidden_tests_pass: verdict.hidden_tests_pass,
            exact_match: verdict.exact_match,
            to_review: !verdict.review.is_empty(),
            tampering: verdict.tampering.is_some(),
        });
        EpisodeSummary {
            task: (&*episode.task.id).into(),
            sample: episode.provenance.sample,
            kind: episode.task.statement.kind(),
            file: episode.task.statement.file().map(Into::into),
            described_by: episode.task.statement.described_by(),
            faulty: method.is_some_and(|method| method.faulty.is_some()),
            turn_limit: episode.task.budget.turns,
            policy: (&*episode.policy).into(),
            started: episode.provenance.started.clone(),
            seconds: episode.provenance.seconds,
            turns: turns(episode),
            end: episode.end.clone(),
            patch: episode.patch.is_some(),
            verdict,
        }
    }

    /// True if the benchmark confirmed the patch.
    pub fn solved(&self) -> bool {
        self.verdict.is_some_and(|verdict| verdict.solved)
    }

    /// The turn, counted from 1, that solved the task.
    pub fn solved_at(&self) -> Option<usize> {
        self.solved().then_some(self.turns.len())
    }

    /// True if there is a patch without a verdict: neither solved nor unsolved.
    pub fn unjudged(&self) -> bool {
        self.patch && self.verdict.is_none()
    }

    /// True if an infrastructure failure ended the episode. It counts in no denominator.
    pub fn infrastructure_failure(&self) -> bool {
        matches!(&self.end, End::Failed { kind: FailureKind::Infrastructure, .. })
    }

    /// Prompt and completion tokens of all turns.
    pub fn tokens(&self) -> u64 {
        self.turns.iter().map(|t| t.usage.prompt_tokens + t.usage.completion_tokens).sum()
    }

    /// US dollars of all turns; `None` if the price of one is unknown.
    pub fn usd(&self) -> Option<f64> {
        self.turns.iter().map(|turn| turn.usage.usd).sum()
    }

    /// Takes the names from a pool, so that the summaries of a run share them, and gives
    /// back memory that was reserved for more turns.
    pub(crate) fn share(&mut self, pool: &mut StrPool) {
        for name in [&mut self.task, &mut self.policy].into_iter().chain(&mut self.file) {
            pool.replace(name);
        }
        for TurnSummary { tool, exception, idea, .. } in &mut self.turns {
            tool.iter_mut().chain(exception).chain(idea).for_each(|name| pool.replace(name));
        }
        self.turns.shrink_to_fit();
    }
}

impl TurnSummary {
    /// The error of a failing turn: the exception of its first failing test, or otherwise
    /// the outcome.
    pub fn error(&self) -> Option<&str> {
        match self.outcome {
            Outcome::Passed | Outcome::Done | Outcome::Submitted => None,
            Outcome::Failed => Some(self.exception.as_deref().unwrap_or("no exception reported")),
            outcome => Some(outcome.name()),
        }
    }
}

fn turns(episode: &Episode) -> Vec<TurnSummary> {
    let mut answers = HashSet::new();
    let turns = episode.turns.iter();
    turns.map(|turn| summary_of(episode, turn, !answers.insert(turn.action.answer()))).collect()
}

fn summary_of(episode: &Episode, turn: &Turn, repeated: bool) -> TurnSummary {
    let tests = turn.observation.tests.as_ref();
    let failed = turn.observation.outcome == Outcome::Failed;
    TurnSummary {
        outcome: turn.observation.outcome,
        tool: match &turn.action.call {
            Call::Tool { name, .. } => Some((&**name).into()),
            Call::Submit | Call::Malformed(_) => None,
        },
        exception: tests.filter(|_| failed).and_then(first_exception),
        tests: tests.map(|report| (report.count_passed(), report.results.len())),
        usage: turn.action.usage.clone(),
        model: turn.action.generation.as_ref().map(|generation| ModelTurn {
            finish: generation.finish,
            reasoning: reasoning_length(turn.action.reasoning.as_deref().unwrap_or_default()),
            speculation: generation.speculation,
            unusable: unusable(&turn.action),
        }),
        act_ms: turn.timings.act_ms,
        call_ms: turn.timings.call_ms,
        idea: idea(turn),
        repeated,
        removes_missing: removes_missing(episode.task.statement.method(), turn),
    }
}

fn first_exception(report: &TestReport) -> Option<SharedStr> {
    let failing = report.results.iter().filter(|test| test.outcome != TestOutcome::Passed);
    failing.filter_map(|test| test.failure.as_ref()).map(|one| (&*one.exception).into()).next()
}

fn reasoning_length(text: &str) -> Option<(u64, u64)> {
    let words = text.split_whitespace().count() as u64;
    (words > 0).then(|| (words, text.trim().chars().count() as u64))
}

/// The idea of a turn whose reasoning begins with `idea: WORD`.
fn idea(turn: &Turn) -> Option<SharedStr> {
    let idea = turn.action.reasoning.as_deref()?.strip_prefix("idea: ")?;
    idea.split_whitespace().next().map(|word| word.trim_end_matches([',', ';', '.']).into())
}

fn removes_missing(method: Option<&Method>, turn: &Turn) -> bool {
    let Some(Method { faulty: Some(faulty), options, .. }) = method else {
        return false;
    };
    let code = turn.action.call.code();
    code.is_some_and(|code| repaired(faulty, code, options.edit).is_err_and(|why| why.is_missing()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_is_measured_in_words_and_characters() {
        let cases = [(" a  b\nc ", Some((3, 6))), (" añ b\n", Some((2, 4))), (" \n", None)];
        for (text, expected) in cases {
            assert_eq!(reasoning_length(text), expected, "{text:?}");
        }
    }
}
