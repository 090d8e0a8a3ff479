//! The values of a run's episodes that the tables over several runs use.

mod texts;

use std::collections::BTreeMap;

use fixfly_runtime::{
    EpisodeSummary, JoinedRecording, RunError, RunRecord, SharedStr, StrPool, TurnSummary,
};

use super::inputs::Inputs;
use super::labels::Labels;
use super::truth::{Judged, Truth};
use texts::Texts;

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
    pub(crate) task: SharedStr,
    pub(crate) sample: u32,
    pub(crate) solved_at: Option<usize>,
    /// Turn limit, or the number of turns if that is larger.
    pub(crate) turns: usize,
    /// The error of each failing turn.
    pub(crate) errors: Vec<SharedStr>,
    /// The error of the last turn of an unsolved episode.
    pub(crate) unresolved: Option<SharedStr>,
    /// Length of the reasoning of each turn that has any.
    pub(crate) reasoning_lengths: Vec<ReasoningLength>,
    /// Whether the first turn has reasoning.
    pub(crate) reasons: bool,
    /// The reasoning of the first turn, if texts are kept.
    pub(crate) first_reasoning: Option<String>,
    /// Whether there is a submitted method, as far as the report needs it. If the references
    /// cannot be read, it is enough to find one in a run.
    pub(crate) has_method: bool,
    /// The last submitted method, if texts are kept.
    pub(crate) method: Option<String>,
    /// Comparison of that method with the reference.
    pub(crate) judged: Option<Box<Judged>>,
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
        episodes: &JoinedRecording,
        inputs: &Inputs<'_>,
    ) -> Result<Self, RunError> {
        let truth = inputs.truth.then(|| Truth::of(&run, record, inputs.reference));
        let config = |key: &str| {
            record.config.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().into()
        };
        let counts =
            |episode: &EpisodeSummary| !episode.infrastructure_failure() && !episode.unjudged();
        let summaries = episodes.summaries().iter().enumerate();
        let counted: Vec<usize> =
            summaries.filter(|(_, one)| counts(one)).map(|(at, _)| at).collect();
        let mut errors = StrPool::default();
        let attempt = |at: &usize| Attempt::of(&episodes.summaries()[*at], &mut errors);
        let mut attempts: Vec<Attempt> = counted.iter().map(attempt).collect();
        Texts::of(truth.as_ref(), inputs).add(&mut attempts, &counted, episodes)?;
        // Intervals by resampling must not depend on which episode ended first.
        attempts.sort_by(|one, other| (&one.task, one.sample).cmp(&(&other.task, other.sample)));
        Ok(RunMetrics {
            labels: labels.or_recorded(record),
            benchmark: config("benchmark"),
            split: config("split"),
            attempts,
            no_truth: truth.as_ref().and_then(Truth::missing).map(String::from),
            run,
        })
    }
}

impl Attempt {
    /// The values that need no texts.
    fn of(episode: &EpisodeSummary, names: &mut StrPool) -> Self {
        let turns = &episode.turns;
        let mut errors: Vec<SharedStr> =
            turns.iter().filter_map(TurnSummary::error).map(|error| names.get(error)).collect();
        errors.shrink_to_fit();
        let last = turns.last().filter(|_| !episode.solved()).and_then(TurnSummary::error);
        let mut reasoning_lengths: Vec<_> = turns.iter().filter_map(reasoning_length).collect();
        reasoning_lengths.shrink_to_fit();
        Attempt {
            task: episode.task.clone(),
            sample: episode.sample,
            solved_at: episode.solved_at(),
            turns: (episode.turn_limit as usize).max(turns.len()),
            errors,
            unresolved: last.map(|error| names.get(error)),
            reasoning_lengths,
            reasons: turns.first().is_some_and(|turn| reasoning_length(turn).is_some()),
            first_reasoning: None,
            has_method: false,
            method: None,
            judged: None,
            recorded_exact: episode.verdict.is_some_and(|v| v.solved && v.exact_match),
            tokens: episode.tokens(),
            seconds: episode.seconds,
            usd: episode.usd(),
        }
    }
}

fn reasoning_length(turn: &TurnSummary) -> Option<ReasoningLength> {
    let (words, characters) = turn.model?.reasoning?;
    let reported = turn.usage.reasoning_tokens;
    Some(ReasoningLength { words, characters, tokens: (reported > 0).then_some(reported) })
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
