//! What the pages show about a whole run, counted over the summaries of its episodes.

use std::collections::{BTreeMap, BTreeSet};

use fixfly_runtime::{EpisodeSummary, RunRecord, TurnSummary};
use serde::Serialize;
use serde_json::Value;

use crate::metrics::{Share, SolvedAt, quantile, solved};

/// What is counted over the episodes of a run. Infrastructure failures are counted
/// separately and excluded from all other numbers.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Facts {
    pub(crate) benchmark: String,
    pub(crate) split: String,
    pub(crate) policy: String,
    pub(crate) model: Option<String>,
    /// Episodes without infrastructure failures.
    pub(crate) finished: usize,
    pub(crate) tasks: usize,
    pub(crate) failures: usize,
    pub(crate) unjudged: usize,
    pub(crate) to_review: usize,
    pub(crate) tampering: usize,
    pub(crate) solved: Share,
    pub(crate) by_turn: Vec<SolvedAt>,
    pub(crate) turns: usize,
    pub(crate) prompt_tokens: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) completion_tokens: u64,
    /// Dollars of the turns with a known price, and the number of these turns.
    pub(crate) usd: f64,
    pub(crate) priced_turns: usize,
    pub(crate) median_seconds: Option<f64>,
    pub(crate) total_seconds: f64,
    pub(crate) errors: Vec<ErrorCount>,
    /// The values that a filter can take.
    pub(crate) choices: Choices,
}

/// How often an error occurred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ErrorCount {
    pub(crate) error: String,
    /// Failing turns with this error.
    pub(crate) turns: usize,
    /// Episodes with such a turn.
    pub(crate) episodes: usize,
    /// Unsolved episodes whose last turn has this error.
    pub(crate) unsolved: usize,
}

/// The values that occur in a run, for its filters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Choices {
    pub(crate) ends: BTreeSet<&'static str>,
    pub(crate) errors: BTreeSet<String>,
    pub(crate) outcomes: BTreeSet<&'static str>,
    pub(crate) folders: BTreeSet<String>,
    pub(crate) ideas: BTreeSet<String>,
    pub(crate) policies: BTreeSet<String>,
}

/// Maximum number of files that a list of choices has; longer lists have folders instead.
const FILES: usize = 60;

impl Facts {
    pub(crate) fn of(record: &RunRecord, all: &[EpisodeSummary]) -> Self {
        let text = |key: &str| match record.config.get(key) {
            Some(Value::String(text)) => text.clone(),
            _ => String::new(),
        };
        let finished: Vec<_> = all.iter().filter(|one| !one.infrastructure_failure()).collect();
        let judged: Vec<_> = finished.iter().copied().filter(|one| !one.unjudged()).collect();
        let last = judged.iter().map(|one| (one.turn_limit as usize).max(one.turns.len())).max();
        // A limit of an issue's episode is hundreds of turns: the table ends with the last
        // turn that solved something.
        let at: Vec<_> = judged.iter().map(|one| one.solved_at()).collect();
        let last = last.unwrap_or(0).min(at.iter().flatten().max().map_or(10, |at| at + 10));
        let mut seconds: Vec<f64> = finished.iter().map(|one| one.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let turns = || finished.iter().flat_map(|one| &one.turns);
        let sum = |of: fn(&TurnSummary) -> u64| -> u64 { turns().map(of).sum() };
        let verdicts = || finished.iter().filter_map(|one| one.verdict);
        Facts {
            benchmark: text("benchmark"),
            split: text("split"),
            policy: text("policy"),
            model: model(record),
            finished: finished.len(),
            tasks: finished.iter().map(|one| &*one.task).collect::<BTreeSet<_>>().len(),
            failures: all.len() - finished.len(),
            unjudged: finished.len() - judged.len(),
            to_review: verdicts().filter(|verdict| verdict.to_review).count(),
            tampering: verdicts().filter(|verdict| verdict.tampering).count(),
            solved: Share::of(judged.iter().map(|one| one.solved())),
            by_turn: solved(&at, last),
            turns: turns().count(),
            prompt_tokens: sum(|turn| turn.usage.prompt_tokens),
            cached_tokens: sum(|turn| turn.usage.cached_tokens),
            completion_tokens: sum(|turn| turn.usage.completion_tokens),
            // The sum of nothing is −0.
            usd: turns().filter_map(|turn| turn.usage.usd).sum::<f64>() + 0.0,
            priced_turns: turns().filter(|turn| turn.usage.usd.is_some()).count(),
            median_seconds: quantile(&seconds, 0.5),
            total_seconds: seconds.iter().sum::<f64>() + 0.0,
            errors: errors(&finished),
            choices: Choices::of(all),
        }
    }

    /// The sum of the tokens; `None` if no model generated any.
    pub(crate) fn tokens(&self) -> Option<u64> {
        Some(self.prompt_tokens + self.completion_tokens).filter(|tokens| *tokens > 0)
    }
}

/// The model of a run: its name on a server, or the name of its file.
fn model(record: &RunRecord) -> Option<String> {
    let model = record.config.get("model")?.get("model")?.as_str()?;
    match model.ends_with(".gguf") {
        true => model.rsplit('/').next().map(String::from),
        false => Some(model.into()),
    }
}

fn errors(episodes: &[&EpisodeSummary]) -> Vec<ErrorCount> {
    let mut counts: BTreeMap<&str, ErrorCount> = BTreeMap::new();
    for episode in episodes {
        let errors: Vec<&str> = episode.turns.iter().filter_map(TurnSummary::error).collect();
        let last = episode.turns.last().and_then(TurnSummary::error);
        for (at, error) in errors.iter().enumerate() {
            let empty =
                || ErrorCount { error: (*error).into(), turns: 0, episodes: 0, unsolved: 0 };
            let count = counts.entry(*error).or_insert_with(empty);
            count.turns += 1;
            count.episodes += usize::from(!errors[..at].contains(error));
        }
        if let Some(last) = last.filter(|_| !episode.solved())
            && let Some(count) = counts.get_mut(last)
        {
            count.unsolved += 1;
        }
    }
    let mut counts: Vec<ErrorCount> = counts.into_values().collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.turns));
    counts
}

impl Choices {
    fn of(all: &[EpisodeSummary]) -> Self {
        let mut choices = Choices::default();
        let (mut ideas, mut errors) = (BTreeSet::new(), BTreeSet::new());
        let (mut policies, mut files) = (BTreeSet::new(), BTreeSet::new());
        for episode in all {
            choices.ends.insert(episode.end.name());
            policies.insert(&*episode.policy);
            files.extend(episode.file.as_deref());
            for turn in &episode.turns {
                choices.outcomes.insert(turn.outcome.name());
                errors.extend(turn.error());
                ideas.extend(turn.idea.as_deref());
            }
        }
        let owned = |set: BTreeSet<&str>| set.into_iter().map(String::from).collect();
        (choices.ideas, choices.errors) = (owned(ideas), owned(errors));
        (choices.policies, choices.folders) = (owned(policies), folders(&files));
        choices
    }
}

/// The files, or the folders above them that are few enough for a list.
fn folders(files: &BTreeSet<&str>) -> BTreeSet<String> {
    let cut = |depth: usize| -> BTreeSet<String> {
        let cut = |file: &&str| match file.match_indices('/').nth(depth) {
            Some((at, _)) => file[..=at].to_string(),
            None => (*file).to_string(),
        };
        files.iter().map(cut).collect()
    };
    let deepest = files.iter().map(|file| file.matches('/').count()).max().unwrap_or(0);
    let few = (0..=deepest).rev().map(cut).find(|folders| folders.len() <= FILES);
    few.unwrap_or_else(|| cut(0))
}
