//! Figures 5.1 to 5.7 in numbers: each checkpoint of each training.

use super::super::cells;
use super::super::groups::Set;
use super::{Entry, Filled, INTERVALS, header, of};

pub(super) const ENTRY: Entry = Entry {
    name: "checkpoints",
    title: "each checkpoint: solved by each turn, %",
    needs: "runs with epoch=…",
    fill,
};

fn fill(set: &Set<'_>) -> Filled {
    let mut groups: Vec<_> = set.groups.iter().filter(|g| g.labels.epoch.is_some()).collect();
    groups.sort_by(|a, b| (&a.labels, a.split).cmp(&(&b.labels, b.split)));
    let turns = groups.iter().map(|group| group.turns().len()).max().unwrap_or(0);
    let mut columns = header(&["training", "mode", "split"]);
    columns.extend((1..turns).map(|turn| format!("by {turn}")));
    columns.extend(header(&["by the last", "of"]));
    let rows = groups.iter().map(|group| {
        let by = group.turns();
        let training = format!("{} {}", group.labels.model_name(), group.labels.training());
        let mut row = vec![training, group.labels.mode_name().into(), group.split.into()];
        row.extend(
            (0..turns.saturating_sub(1))
                .map(|at| cells::number(by.get(at).and_then(|t| t.solved_by.percent))),
        );
        row.extend([cells::rate(&group.rate(None)), of(group)]);
        row
    });
    Filled { header: columns, rows: rows.collect(), notes: vec![INTERVALS.into()] }
}
