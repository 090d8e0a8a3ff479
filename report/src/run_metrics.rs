//! The values of a run's episodes that the tables over several runs use.

use std::collections::BTreeMap;

use crate::metrics::errors::error;
use crate::metrics::length;
use fixfly_runtime::{Episode, RunRecord};

use super::inputs::{Inputs, TokenCounter};
use super::labels::Labels;
use super::truth::{Judged, Truth, offered};

/// Values of a run.
pub(crate) struct RunMetrics {
    pub(crate) run: String,
    pub(crate) labels: Labels,
    pub(crate) benchmark: String,
    pub(crate) split: String,
    /// Episodes, without infrastructure failures and ungraded patches.
    pub(crate) attempts: Vec<Attempt>,
    /// Why the reference methods cannot be read.
    pub(crate) no_truth: Option<String>,
}

/// Values of an episode.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) task: String,
    pub(crate) sample: u32,
    pub(crate) solved_at: Option<usize>,
    /// Turn limit, or the number of turns if that is larger.
    pub(crate) turns: usize,
    /// The error of each failing turn.
    pub(crate) errors: Vec<String>,
    /// The error of the last turn of an unsolved episode.
    pub(crate) unresolved: Option<String>,
    /// Length of the reasoning of each turn that has any.
    pub(crate) reasoning_lengths: Vec<ReasoningLength>,
    /// The reasoning of the first turn.
    pub(crate) first_reasoning: Option<String>,
    /// The last submitted method.
    pub(crate) method: Option<String>,
    /// Comparison of that method with the reference.
    pub(crate) judged: Option<Judged>,
    /// Whether the verdict recorded an exact match.
    pub(crate) recorded_exact: bool,
    pub(crate) tokens: u64,
    pub(crate) seconds: f64,
    pub(crate) usd: Option<f64>,
}

/// Length of a reasoning trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReasoningLength {
    pub(crate) words: u64,
    pub(crate) characters: u64,
    /// Counted by the given tokenizer, or reported by the server.
    pub(crate) tokens: Option<u64>,
}

impl RunMetrics {
    pub(crate) fn of(
        run: String,
        labels: Labels,
        record: &RunRecord,
        episodes: &[Episode],
        inputs: &Inputs<'_>,
    ) -> Self {
        let truth = inputs.truth.then(|| Truth::of(&run, record, inputs.reference));
        let config = |key: &str| {
            record.config.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().into()
        };
        let counts = |episode: &&Episode| !episode.infrastructure_failure() && !episode.unjudged();
        let counted = episodes.iter().filter(counts);
        RunMetrics {
            labels: labels.or_recorded(record),
            benchmark: config("benchmark"),
            split: config("split"),
            attempts: counted.map(|e| Attempt::of(e, truth.as_ref(), inputs)).collect(),
            no_truth: truth.as_ref().and_then(Truth::missing).map(String::from),
            run,
        }
    }
}

impl Attempt {
    fn of(episode: &Episode, truth: Option<&Truth<'_>>, inputs: &Inputs<'_>) -> Self {
        let method = offered(episode, inputs.reference);
        let tokens = inputs.tokens;
        let first = episode.turns.first();
        let usage = || episode.turns.iter().map(|turn| &turn.action.usage);
        Attempt {
            task: episode.task.id.clone(),
            sample: episode.provenance.sample,
            solved_at: episode.solved_at(),
            turns: (episode.task.budget.turns as usize).max(episode.turns.len()),
            errors: episode.turns.iter().filter_map(error).collect(),
            unresolved: episode.turns.last().filter(|_| !episode.solved()).and_then(error),
            reasoning_lengths: episode
                .turns
                .iter()
                .filter_map(|t| reasoning_length(&t.action, tokens))
                .collect(),
            first_reasoning: first.and_then(|turn| reasoning(&turn.action)).map(String::from),
            judged: method.as_ref().and_then(|method| truth?.judge(&episode.task, method)),
            method,
            recorded_exact: episode.verdict.as_ref().is_some_and(|v| v.solved && v.exact_match),
            tokens: usage().map(|usage| usage.prompt_tokens + usage.completion_tokens).sum(),
            seconds: episode.provenance.seconds,
            usd: usage().map(|usage| usage.usd).sum(),
        }
    }
}

/// The reasoning of a model. Notes of other policies do not count.
fn reasoning(action: &fixfly_runtime::Action) -> Option<&str> {
    action.generation.as_ref()?;
    action.reasoning.as_deref().filter(|text| !text.trim().is_empty())
}

fn reasoning_length(
    action: &fixfly_runtime::Action,
    tokens: Option<&TokenCounter<'_>>,
) -> Option<ReasoningLength> {
    let text = reasoning(action)?;
    let reported = action.usage.reasoning_tokens;
    Some(ReasoningLength {
        words: length::words(text),
        characters: length::characters(text),
        tokens: match tokens {
            Some(count) => Some(count(text) as u64),
            None => (reported > 0).then_some(reported),
        },
    })
}

/// Mean of a value over the attempts at each task.
pub(crate) fn by_task<'a>(
    attempts: impl IntoIterator<Item = &'a Attempt>,
    figure: impl Fn(&Attempt) -> f64,
) -> BTreeMap<&'a str, f64> {
    let mut sums: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    for attempt in attempts {
        let (sum, of) = sums.entry(&attempt.task).or_default();
        *sum += figure(attempt);
        *of += 1;
    }
    sums.into_iter().map(|(task, (sum, of))| (task, sum / of as f64)).collect()
}
