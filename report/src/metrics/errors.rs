//! Errors of failing turns.

use std::collections::BTreeMap;

use fixfly_runtime::{EpisodeSummary, TurnSummary};
use serde::Serialize;

use super::Share;

/// The frequency of an error.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ErrorRow {
    /// The exception, or otherwise the outcome of the turn.
    pub(crate) error: String,
    /// Failing turns with this error, of all failing turns.
    pub(crate) turns: Share,
    /// Those that were followed by another turn.
    pub(crate) intermediate: usize,
    /// Unsolved episodes whose last turn has this error, of all unsolved episodes.
    pub(crate) unsolved: Share,
}

/// The errors, most frequent first. Each failing turn counts once.
pub(crate) fn errors(episodes: &[&EpisodeSummary]) -> Vec<ErrorRow> {
    fn count<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
        let mut counts = BTreeMap::new();
        names.for_each(|name| *counts.entry(name).or_default() += 1);
        counts
    }
    fn last_error<'a>(episode: &&'a EpisodeSummary) -> Option<&'a str> {
        episode.turns.last()?.error()
    }
    let all = count(episodes.iter().flat_map(|e| &e.turns).filter_map(TurnSummary::error));
    let unsolved: Vec<_> = episodes.iter().filter(|e| !e.solved()).collect();
    let last = count(unsolved.iter().copied().filter_map(last_error));
    let ends = count(episodes.iter().filter_map(last_error));
    let of = all.values().sum();
    let counted =
        |counts: &BTreeMap<&str, usize>, name: &str| counts.get(name).copied().unwrap_or(0);
    let mut rows: Vec<ErrorRow> = all
        .iter()
        .map(|(name, turns)| ErrorRow {
            error: (*name).to_string(),
            turns: Share::new(*turns, of),
            intermediate: turns - counted(&ends, name),
            unsolved: Share::new(counted(&last, name), unsolved.len()),
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.turns.count));
    rows
}
