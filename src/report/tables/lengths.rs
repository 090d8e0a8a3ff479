//! Table 5.6: how long models reason.

use std::collections::BTreeMap;

use fixfly_benchmarks::metrics::Estimate;
use fixfly_benchmarks::metrics::bootstrap;

use super::super::cells;
use super::super::groups::{Group, SEED, Set};
use super::super::measured::{Attempt, ReasoningLength};
use super::{Entry, Filled, header, methods};

pub(super) const ENTRY: Entry = Entry {
    name: "5.6",
    title: "length of reasoning, a turn",
    needs: "runs of models that reason",
    fill,
};

fn fill(set: &Set<'_>) -> Filled {
    let groups: Vec<&Group<'_>> = methods(set)
        .into_iter()
        .filter(|group| group.attempts().any(|attempt| !attempt.thoughts.is_empty()))
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
        let thoughts = || group.attempts().flat_map(|attempt| &attempt.thoughts);
        let counted = thoughts().filter(|thought| thought.tokens.is_some()).count();
        let longest = thoughts().map(|thought| thought.words).max();
        vec![
            group.labels.shown(),
            cell(|thought| Some(thought.words)),
            cell(|thought| Some(thought.characters)),
            cell(|thought| thought.tokens),
            longest.map_or(cells::NONE.into(), |words| words.to_string()),
            format!("{} turns, {counted} with tokens", thoughts().count()),
        ]
    });
    let columns = ["model", "mean words", "mean characters", "mean tokens", "most words", "of"];
    let notes = vec![
        "Of every turn with reasoning. Words are runs without white space, characters Unicode's; \
         tokens by --tokenizer, else as the server counted, where it did."
            .into(),
        "In brackets: 95 % intervals, bootstrap over episodes; changes are to the untrained model."
            .into(),
    ];
    Filled { header: header(&columns), rows: rows.collect(), notes }
}

/// Sum and count of an episode's lengths.
fn sums(attempt: &Attempt, of: fn(&ReasoningLength) -> Option<u64>) -> (u64, u64) {
    attempt.thoughts.iter().filter_map(of).fold((0, 0), |(sum, n), length| (sum + length, n + 1))
}

/// The mean over turns; turns of one episode are drawn together.
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

/// Mean words a turn, by task: what two runs are compared by.
pub(crate) fn words_by_task<'g>(group: &'g Group<'_>) -> BTreeMap<&'g str, f64> {
    let mut all: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for attempt in group.attempts() {
        let (sum, n) = sums(attempt, |thought| Some(thought.words));
        let known = all.entry(&attempt.task).or_default();
        *known = (known.0 + sum, known.1 + n);
    }
    all.into_iter()
        .filter(|(_, (_, n))| *n > 0)
        .map(|(t, (sum, n))| (t, sum as f64 / n as f64))
        .collect()
}
