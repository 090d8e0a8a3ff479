//! Table 5.8: issues resolved, outside what was trained for.

use fixfly_benchmarks::metrics::Share;

use super::super::cells;
use super::super::groups::Set;
use super::{Entry, Filled, header};

/// The benchmark of issues.
pub(crate) const BENCHMARK: &str = "swebench";

pub(super) const ENTRY: Entry =
    Entry { name: "5.8", title: "issues resolved", needs: "runs of the benchmark swebench", fill };

fn fill(set: &Set<'_>) -> Filled {
    let groups = set.chosen().into_iter().filter(|group| group.benchmark == BENCHMARK);
    let rows = groups.map(|group| {
        let resolved = Share::of(group.attempts().map(|attempt| attempt.solved_at.is_some()));
        vec![group.labels.shown(), resolved.count.to_string(), cells::share(&resolved)]
    });
    Filled {
        header: header(&["configuration", "resolved", "%"]),
        rows: rows.collect(),
        notes: vec!["In brackets: Wilson's 95 % intervals.".into()],
    }
}
