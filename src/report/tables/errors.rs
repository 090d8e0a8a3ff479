//! Figure 5.8 in numbers: what turns failed of.

use std::collections::BTreeMap;

use fixfly_benchmarks::metrics::Share;

use super::super::cells;
use super::super::groups::{Group, Set};
use super::{Entry, Filled, header, methods};

pub(super) const ENTRY: Entry = Entry {
    name: "errors",
    title: "errors by type: failing turns, and tasks unresolved after the last turn",
    needs: "runs with a failing turn",
    fill,
};

/// How often each error came: in failing turns, and last of an unsolved episode.
pub(crate) fn counted<'g>(group: &'g Group<'_>) -> Vec<(&'g str, usize, usize)> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for attempt in group.attempts() {
        for error in &attempt.errors {
            counts.entry(error).or_default().0 += 1;
        }
        if let Some(error) = &attempt.unresolved {
            counts.entry(error).or_default().1 += 1;
        }
    }
    let mut rows: Vec<_> = counts.into_iter().map(|(e, (all, last))| (e, all, last)).collect();
    rows.sort_by_key(|(_, all, _)| std::cmp::Reverse(*all));
    rows
}

fn fill(set: &Set<'_>) -> Filled {
    let mut rows = Vec::new();
    for group in methods(set) {
        let counted = counted(group);
        let failing: usize = counted.iter().map(|(_, all, _)| all).sum();
        let unsolved = group.attempts().filter(|attempt| attempt.solved_at.is_none()).count();
        rows.extend(counted.iter().map(|(error, all, last)| {
            vec![
                group.labels.shown(),
                (*error).to_string(),
                all.to_string(),
                cells::share(&Share::new(*all, failing)),
                last.to_string(),
                cells::share(&Share::new(*last, unsolved)),
            ]
        }));
    }
    let columns =
        ["model", "error", "failing turns", "% of them", "unresolved", "% of unsolved episodes"];
    let notes = vec![
        "A failing turn counts once, under the exception of its first failing test, or else what \
         came of it."
            .into(),
    ];
    Filled { header: header(&columns), rows, notes }
}
