//! Results of one run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use crate::metrics::errors::{ErrorRow, errors};
use crate::metrics::{Share, SolvedAt, Spread, pass_at, quantile, solved, spread};
use fixfly_runtime::{
    DescribedBy, End, EpisodeSummary, FailureKind, Outcome, RunRecord, Shards, TurnSummary,
};
use serde::Serialize;

use super::answers::{AnswersAt, answers};
use super::costs::{Costs, Named};
use super::inputs::Retained;

/// Results of a run. Infrastructure failures are counted separately and excluded
/// from all other numbers. Failures of the model count as unsolved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RunReport {
    /// The run directory.
    pub(crate) run: String,
    pub(crate) benchmark: String,
    pub(crate) split: String,
    pub(crate) policy: String,
    pub(crate) seed: u64,
    pub(crate) fixfly: String,
    /// The shards of a divided run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shards: Option<ShardList>,
    pub(crate) tasks: usize,
    /// Episodes without infrastructure failures: the denominator of most shares.
    pub(crate) episodes: usize,
    pub(crate) infrastructure_failures: usize,
    /// Episodes with an ungraded patch, excluded from solve rates.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) unjudged: usize,
    pub(crate) turns: Vec<SolvedAt>,
    pub(crate) solved: Share,
    /// Among episodes whose task is described by the method's own docstring.
    pub(crate) solved_docstring_only: Share,
    /// Solved episodes with hidden tests, and those that pass them.
    pub(crate) hidden_tests_pass: Share,
    /// Solved episodes, and those that match the reference exactly.
    pub(crate) exact_match: Share,
    /// Solved episodes, and those that need manual review.
    pub(crate) to_review: Share,
    /// Episodes in which a candidate tampered with its verdict.
    pub(crate) tampered: Share,
    pub(crate) model_failures: Share,
    pub(crate) ends: Vec<Named>,
    /// Over all turns.
    pub(crate) outcomes: Vec<Named>,
    /// What answers to faulty methods do wrong, by turn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) answers: Vec<AnswersAt>,
    /// Each failing turn under the exception of its first failing test.
    pub(crate) errors: Vec<ErrorRow>,
    pub(crate) times: Vec<TimeRow>,
    /// From the first start to the last end.
    pub(crate) wall_seconds: Option<f64>,
    /// The parts of the episodes that a training set would use.
    pub(crate) retention: Vec<Named>,
    /// For runs with several samples per task.
    pub(crate) samples: Option<Samples>,
    /// Model usage.
    pub(crate) costs: Costs,
    /// Solved episodes by the idea of the solving turn, if the policy records one.
    pub(crate) ideas: Vec<Named>,
}

/// The shards of a divided run, from 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ShardList {
    #[serde(flatten)]
    shards: Shards,
    pub(crate) missing: Vec<u32>,
}

impl From<Shards> for ShardList {
    fn from(shards: Shards) -> Self {
        ShardList { missing: shards.missing(), shards }
    }
}

impl Display for ShardList {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.shards.fmt(f)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TimeRow {
    pub(crate) what: String,
    pub(crate) median_seconds: Option<f64>,
    pub(crate) p95_seconds: Option<f64>,
    pub(crate) total_seconds: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Samples {
    /// Solved episodes of each sample.
    pub(crate) each: Vec<Share>,
    /// Percent solved, over the samples.
    pub(crate) percent: Option<Spread>,
    pub(crate) pass_at: Vec<PassAt>,
}

/// Unbiased pass@k over k independent episodes. This is not the share solved by
/// turn k.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PassAt {
    pub(crate) k: usize,
    pub(crate) percent: f64,
    /// Tasks with at least k episodes.
    pub(crate) tasks: usize,
}

impl RunReport {
    pub(crate) fn of(
        run: String,
        record: &RunRecord,
        all: &[EpisodeSummary],
        retained: &dyn Fn(&EpisodeSummary) -> Retained,
    ) -> Self {
        let config = |key: &str| match record.config.get(key) {
            Some(serde_json::Value::String(text)) => text.clone(),
            _ => String::new(),
        };
        let episodes: Vec<&EpisodeSummary> =
            all.iter().filter(|e| !e.infrastructure_failure()).collect();
        let some = |is: fn(&EpisodeSummary) -> bool| -> Vec<&EpisodeSummary> {
            episodes.iter().copied().filter(|episode| is(episode)).collect()
        };
        let (solved, judged) = (some(EpisodeSummary::solved), some(|e| !e.unjudged()));
        let of = episodes.len();
        let share = |is: fn(&EpisodeSummary) -> bool| Share::new(some(is).len(), of);
        let docstring = some(|e| e.described_by == Some(DescribedBy::Docstring));
        let hidden: Vec<bool> =
            solved.iter().filter_map(|e| e.verdict?.hidden_tests_pass).collect();
        let exact = |e: &&&EpisodeSummary| e.verdict.is_some_and(|v| v.exact_match);
        let needs_review = |e: &&&EpisodeSummary| e.verdict.is_some_and(|v| v.to_review);
        let turns = || episodes.iter().flat_map(|episode| &episode.turns);
        let tasks: BTreeSet<&str> = episodes.iter().map(|e| &*e.task).collect();
        RunReport {
            run,
            benchmark: config("benchmark"),
            split: config("split"),
            policy: config("policy"),
            seed: record.seed,
            fixfly: record.fixfly.clone(),
            shards: record.shards(of).map(ShardList::from),
            tasks: tasks.len(),
            episodes: of,
            infrastructure_failures: all.len() - of,
            unjudged: of - judged.len(),
            turns: turn_rows(&judged),
            solved: Share::new(solved.len(), judged.len()),
            solved_docstring_only: Share::new(
                docstring.iter().filter(|e| e.solved()).count(),
                docstring.len(),
            ),
            hidden_tests_pass: Share::new(
                hidden.iter().filter(|pass| **pass).count(),
                hidden.len(),
            ),
            exact_match: Share::new(solved.iter().filter(exact).count(), solved.len()),
            to_review: Share::new(solved.iter().filter(needs_review).count(), solved.len()),
            tampered: share(tampered),
            model_failures: share(model_failure),
            ends: counted(episodes.iter().map(|e| e.end.name())),
            outcomes: counted(turns().map(|turn| turn.outcome.name())),
            answers: answers(&episodes),
            errors: errors(&episodes),
            times: time_rows(&episodes),
            wall_seconds: wall_seconds(&episodes),
            retention: retention(episodes.iter().map(|episode| retained(episode))),
            samples: samples(&judged),
            costs: Costs::of(&episodes),
            ideas: counted(solved.iter().filter_map(|e| e.turns.last()?.idea.as_deref())),
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn tampered(episode: &EpisodeSummary) -> bool {
    let caught = |turn: &TurnSummary| turn.outcome == Outcome::Tampered;
    episode.verdict.is_some_and(|verdict| verdict.tampering) || episode.turns.iter().any(caught)
}

fn model_failure(episode: &EpisodeSummary) -> bool {
    matches!(episode.end, End::Failed { kind: FailureKind::Model, .. })
}

fn turn_rows(episodes: &[&EpisodeSummary]) -> Vec<SolvedAt> {
    let last = episodes.iter().map(|e| (e.turn_limit as usize).max(e.turns.len())).max();
    let at: Vec<_> = episodes.iter().map(|episode| episode.solved_at()).collect();
    solved(&at, last.unwrap_or(0))
}

/// The share of each name, most frequent first.
fn counted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Named> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let of = counts.values().sum();
    let mut rows: Vec<Named> = counts
        .into_iter()
        .map(|(name, count)| Named { name: name.into(), share: Share::new(count, of) })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.share.count));
    rows
}

fn time_rows(episodes: &[&EpisodeSummary]) -> Vec<TimeRow> {
    let turns = || episodes.iter().flat_map(|episode| &episode.turns);
    let row = |what: &str, mut seconds: Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        TimeRow {
            what: what.to_string(),
            median_seconds: quantile(&seconds, 0.5),
            p95_seconds: quantile(&seconds, 0.95),
            // The sum of nothing is −0.
            total_seconds: seconds.iter().sum::<f64>() + 0.0,
        }
    };
    let seconds = |millis: u64| millis as f64 / 1000.0;
    vec![
        row("policy, per turn", turns().map(|t| seconds(t.act_ms)).collect()),
        row("tool call, per turn", turns().map(|t| seconds(t.call_ms)).collect()),
        row("episode", episodes.iter().map(|e| e.seconds).collect()),
    ]
}

fn wall_seconds(episodes: &[&EpisodeSummary]) -> Option<f64> {
    let spans: Vec<(f64, f64)> = episodes
        .iter()
        .filter_map(|episode| {
            let started: jiff::Timestamp = episode.started.parse().ok()?;
            let start = started.as_millisecond() as f64 / 1000.0;
            Some((start, start + episode.seconds))
        })
        .collect();
    let first = spans.iter().map(|(start, _)| *start).reduce(f64::min)?;
    let last = spans.iter().map(|(_, end)| *end).reduce(f64::max)?;
    Some(last - first)
}

fn retention(episodes: impl Iterator<Item = Retained>) -> Vec<Named> {
    let kept: Vec<Retained> = episodes.collect();
    let row = |name: &str, what: Retained| Named {
        name: name.to_string(),
        share: Share::new(kept.iter().filter(|kept| **kept == what).count(), kept.len()),
    };
    vec![
        row("repaired", Retained::Repaired),
        row("unsolved", Retained::Unsolved),
        row("solved at first turn", Retained::SolvedAtOnce),
        row("nothing kept", Retained::Nothing),
    ]
}

fn samples(episodes: &[&EpisodeSummary]) -> Option<Samples> {
    let samples: BTreeSet<u32> = episodes.iter().map(|e| e.sample).collect();
    if samples.len() < 2 {
        return None;
    }
    let each: Vec<Share> = samples
        .iter()
        .map(|sample| {
            let of = episodes.iter().filter(|e| e.sample == *sample);
            Share::new(of.clone().filter(|e| e.solved()).count(), of.count())
        })
        .collect();
    let mut tasks: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for episode in episodes {
        let (n, correct) = tasks.entry(&*episode.task).or_default();
        *n += 1;
        *correct += usize::from(episode.solved());
    }
    let pass_at = (1..=samples.len())
        .filter(|k| [1, 2, 5, 10, 20, 50, 100].contains(k) || *k == samples.len())
        .filter_map(|k| {
            let chances: Vec<f64> = tasks
                .values()
                .filter(|(n, _)| *n >= k)
                .map(|(n, correct)| pass_at(k, *n, *correct))
                .collect();
            let percent = 100.0 * chances.iter().sum::<f64>() / chances.len() as f64;
            (!chances.is_empty()).then_some(PassAt { k, percent, tasks: chances.len() })
        })
        .collect();
    let percents: Vec<f64> = each.iter().filter_map(|share| share.percent).collect();
    Some(Samples { percent: spread(&percents), each, pass_at })
}
