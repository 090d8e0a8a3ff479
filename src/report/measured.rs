//! A run as the tables of many runs need it: each episode in small.

use std::collections::BTreeMap;
use std::path::Path;

use fixfly_benchmarks::metrics::errors::error;
use fixfly_benchmarks::metrics::length;
use fixfly_runtime::{Episode, RunRecord};
use fixfly_train::Tokens;

use super::labels::Labels;
use super::truth::{Judged, Truth, offered};

/// A run.
pub(crate) struct RunMetrics {
    pub(crate) run: String,
    pub(crate) labels: Labels,
    pub(crate) benchmark: String,
    pub(crate) split: String,
    /// Episodes that count.
    pub(crate) attempts: Vec<Attempt>,
    /// Why its methods are not beside their references.
    pub(crate) no_truth: Option<String>,
}

/// An episode.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) task: String,
    pub(crate) sample: u32,
    pub(crate) solved_at: Option<usize>,
    /// Turns allowed, or made where that is more.
    pub(crate) turns: usize,
    /// What each failing turn failed of.
    pub(crate) errors: Vec<String>,
    /// What the last turn failed of, where the task stayed unsolved.
    pub(crate) unresolved: Option<String>,
    /// Each turn's reasoning, of a model that gave one.
    pub(crate) thoughts: Vec<ReasoningLength>,
    /// The reasoning of the first turn.
    pub(crate) first_thought: Option<String>,
    /// The last method offered.
    pub(crate) method: Option<String>,
    /// It, beside the reference.
    pub(crate) judged: Option<Judged>,
    /// Exact match as the verdict recorded it.
    pub(crate) recorded_exact: bool,
    pub(crate) tokens: u64,
    pub(crate) seconds: f64,
    pub(crate) usd: Option<f64>,
}

/// How long a reasoning is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReasoningLength {
    pub(crate) words: u64,
    pub(crate) characters: u64,
    /// By the tokenizer given, else as the server counted; none where neither did.
    pub(crate) tokens: Option<u64>,
}

/// What is asked of a run beside its episodes.
pub(crate) struct Asked<'a> {
    /// Whether methods are to stand beside their references.
    pub(crate) truth: bool,
    pub(crate) benchmark_dir: Option<&'a Path>,
    pub(crate) tokens: Option<&'a Tokens>,
}

impl RunMetrics {
    pub(crate) fn of(
        run: String,
        labels: Labels,
        record: &RunRecord,
        episodes: &[Episode],
        asked: &Asked<'_>,
    ) -> Self {
        let truth = asked.truth.then(|| Truth::of(&run, record, asked.benchmark_dir));
        let config = |key: &str| {
            record.config.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().into()
        };
        let counts = |episode: &&Episode| !episode.infrastructure_failure() && !episode.unjudged();
        let counted = episodes.iter().filter(counts);
        RunMetrics {
            labels: labels.or_recorded(record),
            benchmark: config("benchmark"),
            split: config("split"),
            attempts: counted.map(|e| Attempt::of(e, truth.as_ref(), asked.tokens)).collect(),
            no_truth: truth.as_ref().and_then(Truth::missing).map(String::from),
            run,
        }
    }
}

impl Attempt {
    fn of(episode: &Episode, truth: Option<&Truth>, tokens: Option<&Tokens>) -> Self {
        let method = offered(episode);
        let first = episode.turns.first();
        let usage = || episode.turns.iter().map(|turn| &turn.action.usage);
        Attempt {
            task: episode.task.id.clone(),
            sample: episode.provenance.sample,
            solved_at: episode.solved_at(),
            turns: (episode.task.budget.turns as usize).max(episode.turns.len()),
            errors: episode.turns.iter().filter_map(error).collect(),
            unresolved: episode.turns.last().filter(|_| !episode.solved()).and_then(error),
            thoughts: episode.turns.iter().filter_map(|t| thought(&t.action, tokens)).collect(),
            first_thought: first.and_then(|turn| reasoning(&turn.action)).map(String::from),
            judged: method.as_ref().and_then(|method| truth?.judge(&episode.task, method)),
            method,
            recorded_exact: episode.verdict.as_ref().is_some_and(|v| v.solved && v.exact_match),
            tokens: usage().map(|usage| usage.prompt_tokens + usage.completion_tokens).sum(),
            seconds: episode.provenance.seconds,
            usd: usage().map(|usage| usage.usd).sum(),
        }
    }
}

/// A model's reasoning; other policies' notes are none.
fn reasoning(action: &fixfly_runtime::Action) -> Option<&str> {
    action.generation.as_ref()?;
    action.reasoning.as_deref().filter(|text| !text.trim().is_empty())
}

fn thought(action: &fixfly_runtime::Action, tokens: Option<&Tokens>) -> Option<ReasoningLength> {
    let text = reasoning(action)?;
    let reported = action.usage.reasoning_tokens;
    Some(ReasoningLength {
        words: length::words(text),
        characters: length::characters(text),
        tokens: match tokens {
            Some(tokens) => Some(tokens.of(text) as u64),
            None => (reported > 0).then_some(reported),
        },
    })
}

/// By task, the mean of a figure over the attempts at it.
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
