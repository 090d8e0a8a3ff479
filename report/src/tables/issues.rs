//! Resolved issues, a task that students are not trained for (paper: table 5.8).

use crate::metrics::Share;

use super::super::cells;
use super::super::groups::RunSet;
use super::{Entry, Filled, header};

/// The issue benchmark.
pub(crate) const BENCHMARK: &str = "swebench";

pub(super) const ENTRY: Entry = Entry {
    name: "issues",
    number: Some("5.8"),
    title: "Issues resolved",
    needs: "runs of the benchmark swebench",
    fill,
};

fn fill(set: &RunSet<'_>) -> Filled {
    let groups = set.chosen().into_iter().filter(|group| group.benchmark == BENCHMARK);
    let rows = groups.map(|group| {
        let resolved = Share::of(group.attempts().map(|attempt| attempt.solved_at.is_some()));
        vec![group.labels.shown(), resolved.count.to_string(), cells::share(&resolved)]
    });
    Filled {
        header: header(&["Model", "Resolved", "%"]),
        rows: rows.collect(),
        notes: vec!["Parentheses: 95 % Wilson intervals.".into()],
    }
}
