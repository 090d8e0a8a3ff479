//! All checkpoints of all training runs (paper: figures 5.1 to 5.7).

use super::super::cells;
use super::super::groups::RunSet;
use super::{Entry, Filled, INTERVALS, header, sample_size};

pub(super) const ENTRY: Entry = Entry {
    name: "checkpoints",
    number: None,
    title: "Checkpoints: solved by turn, %",
    needs: "runs with the label epoch=…",
    fill,
};

fn fill(set: &RunSet<'_>) -> Filled {
    let mut groups: Vec<_> = set.groups.iter().filter(|g| g.labels.epoch.is_some()).collect();
    groups.sort_by(|a, b| (&a.labels, a.split).cmp(&(&b.labels, b.split)));
    let turns = groups.iter().map(|group| group.turns().len()).max().unwrap_or(0);
    let mut columns = header(&["Training", "Mode", "Split"]);
    columns.extend((1..turns).map(|turn| format!("By turn {turn}")));
    columns.extend(header(&["By the last turn", "n"]));
    let rows = groups.iter().map(|group| {
        let by = group.turns();
        let training = format!("{} {}", group.labels.model_name(), group.labels.training());
        let mut row = vec![training, group.labels.mode_name().into(), group.split.into()];
        row.extend(
            (0..turns.saturating_sub(1))
                .map(|at| cells::number(by.get(at).and_then(|t| t.solved_by.percent))),
        );
        row.extend([cells::rate(&group.rate(None)), sample_size(group)]);
        row
    });
    Filled { header: columns, rows: rows.collect(), notes: vec![INTERVALS.into()] }
}
