//! Reasoning length (paper: table 5.6).

use std::collections::BTreeMap;

use crate::metrics::Estimate;
use crate::metrics::bootstrap;

use super::super::cells;
use super::super::groups::{Group, RunSet, SEED};
use super::super::run_metrics::{Attempt, ReasoningLength};
use super::{Entry, Filled, header, methods};

pub(super) const ENTRY: Entry = Entry {
    name: "lengths",
    number: Some("5.6"),
    title: "Reasoning length per turn",
    needs: "runs of models that reason",
    fill,
};

fn fill(set: &RunSet<'_>) -> Filled {
    let groups: Vec<&Group<'_>> = methods(set)
        .into_iter()
        .filter(|group| group.attempts().any(|attempt| !attempt.reasoning_lengths.is_empty()))
        .collect();
    let rows = groups.iter().map(|group| {
        let base = set.find(&group.labels.base(), group).filter(|_| !group.labels.is_base());
        let cell = |of: fn(&ReasoningLength) -> Option<u64>| {
            let mean = mean(group, of);
            let change =
                base.and_then(|base| Some(100.0 * (mean?.value / mean_of(base, of)? - 1.0)));
            let change = change.map_or(String::new(), |change| format!(", {change:+.0} %"));
            format!("{}{change}", cells::whole(&mean))
        };
        let lengths = || group.attempts().flat_map(|attempt| &attempt.reasoning_lengths);
        let counted = lengths().filter(|length| length.tokens.is_some()).count();
        let longest = lengths().map(|length| length.words).max();
        vec![
            group.labels.shown(),
            cell(|length| Some(length.words)),
            cell(|length| Some(length.characters)),
            cell(|length| length.tokens),
            longest.map_or(cells::NONE.into(), |words| words.to_string()),
            format!("{} turns, {counted} with tokens", lengths().count()),
        ]
    });
    let columns = ["Model", "Mean words", "Mean characters", "Mean tokens", "Max words", "n"];
    let notes = vec![
        "All turns with reasoning. Words are separated by white space. Characters are Unicode \
         scalar values. Tokens are counted with --tokenizer, or as reported by the server."
            .into(),
        "Parentheses: 95 % intervals, bootstrap over episodes. Changes are relative to the base model."
            .into(),
    ];
    Filled { header: header(&columns), rows: rows.collect(), notes }
}

/// Sum and count of the lengths in an episode.
fn sums(attempt: &Attempt, of: fn(&ReasoningLength) -> Option<u64>) -> (u64, u64) {
    attempt
        .reasoning_lengths
        .iter()
        .filter_map(of)
        .fold((0, 0), |(sum, n), length| (sum + length, n + 1))
}

/// The mean over turns. The bootstrap resamples whole episodes.
pub(super) fn mean(group: &Group<'_>, of: fn(&ReasoningLength) -> Option<u64>) -> Option<Estimate> {
    let episodes: Vec<(u64, u64)> = group.attempts().map(|attempt| sums(attempt, of)).collect();
    bootstrap(episodes.len(), SEED, |drawn| {
        let (sum, n) =
            drawn.iter().fold((0, 0), |(sum, n), &at| (sum + episodes[at].0, n + episodes[at].1));
        (n > 0).then(|| sum as f64 / n as f64)
    })
}

fn mean_of(group: &Group<'_>, of: fn(&ReasoningLength) -> Option<u64>) -> Option<f64> {
    let (sum, n) =
        group.attempts().map(|a| sums(a, of)).fold((0, 0), |(s, n), (a, b)| (s + a, n + b));
    (n > 0).then(|| sum as f64 / n as f64)
}

/// Mean words per turn, by task.
pub(crate) fn words_by_task<'g>(group: &'g Group<'_>) -> BTreeMap<&'g str, f64> {
    let mut all: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for attempt in group.attempts() {
        let (sum, n) = sums(attempt, |length| Some(length.words));
        let known = all.entry(&attempt.task).or_default();
        *known = (known.0 + sum, known.1 + n);
    }
    all.into_iter()
        .filter(|(_, (_, n))| *n > 0)
        .map(|(t, (sum, n))| (t, sum as f64 / n as f64))
        .collect()
}
