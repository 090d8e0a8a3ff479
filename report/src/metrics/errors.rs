//! Errors of failing turns.

use std::collections::{BTreeMap, BTreeSet};

use fixfly_runtime::{Episode, Outcome, TestOutcome, Turn};
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
pub(crate) fn errors(episodes: &[&Episode]) -> Vec<ErrorRow> {
    let count = |names: &mut dyn Iterator<Item = String>| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        names.for_each(|name| *counts.entry(name).or_default() += 1);
        counts
    };
    let all = count(&mut episodes.iter().flat_map(|e| &e.turns).filter_map(error));
    let unsolved: Vec<_> = episodes.iter().filter(|e| !e.solved()).collect();
    let last = count(&mut unsolved.iter().filter_map(|e| error(e.turns.last()?)));
    let ends = count(&mut episodes.iter().filter_map(|e| error(e.turns.last()?)));
    let of = all.values().sum();
    let names: BTreeSet<&String> = all.keys().collect();
    let counted = |counts: &BTreeMap<String, usize>, name| counts.get(name).copied().unwrap_or(0);
    let mut rows: Vec<ErrorRow> = names
        .into_iter()
        .map(|name| ErrorRow {
            error: name.clone(),
            turns: Share::new(all[name], of),
            intermediate: all[name] - counted(&ends, name),
            unsolved: Share::new(counted(&last, name), unsolved.len()),
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.turns.count));
    rows
}

/// The error of a failing turn: the exception of its first failing test, or otherwise the
/// outcome of the turn.
pub(crate) fn error(turn: &Turn) -> Option<String> {
    match turn.observation.outcome {
        Outcome::Passed | Outcome::Done | Outcome::Submitted => None,
        Outcome::Failed => Some(first_failure(turn)),
        outcome => Some(outcome.name().to_string()),
    }
}

fn first_failure(turn: &Turn) -> String {
    let tests = turn.observation.tests.iter().flat_map(|report| &report.results);
    let failing = tests.filter(|test| test.outcome != TestOutcome::Passed);
    failing
        .filter_map(|test| test.failure.as_ref())
        .map(|failure| failure.exception.clone())
        .next()
        .unwrap_or_else(|| "no exception reported".to_string())
}
