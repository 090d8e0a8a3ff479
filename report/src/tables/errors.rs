//! Errors by type (paper: figure 5.8).

use std::collections::BTreeMap;

use crate::metrics::Share;

use super::super::cells;
use super::super::groups::{Group, RunSet};
use super::{Entry, Filled, header, methods};

pub(super) const ENTRY: Entry = Entry {
    name: "errors",
    number: None,
    title: "Errors by type: failing turns, and episodes unsolved after the last turn",
    needs: "runs with a failing turn",
    fill,
};

/// For each error, the number of failing turns and of unsolved episodes that end with it.
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

fn fill(set: &RunSet<'_>) -> Filled {
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
        ["Model", "Error", "Failing turns", "% of failing turns", "Unsolved", "% of unsolved"];
    let notes = vec![
        "A failing turn counts once, under the exception of its first failing test, or under its \
         outcome if no test failed."
            .into(),
    ];
    Filled { header: header(&columns), rows, notes }
}
