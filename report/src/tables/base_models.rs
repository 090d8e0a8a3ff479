//! Base models (paper: table 5.1).

use super::super::cells;
use super::super::groups::RunSet;
use super::{Entry, Filled, INTERVALS, header, methods, sample_size};

pub(super) const ENTRY: Entry = Entry {
    name: "base-models",
    number: Some("5.1"),
    title: "Base models: newly solved at each turn, %",
    needs: "runs of base models (method=base)",
    fill,
};

fn fill(set: &RunSet<'_>) -> Filled {
    let groups: Vec<_> = methods(set).into_iter().filter(|group| group.labels.is_base()).collect();
    let turns = groups.iter().map(|group| group.turns().len()).max().unwrap_or(0);
    let mut columns = vec!["Model".to_string()];
    columns.extend((1..=turns).map(|turn| format!("Turn {turn}")));
    columns.extend(header(&["Total", "Mode", "n"]));
    let rows = groups.iter().map(|group| {
        let at = group.turns();
        let mut row = vec![group.labels.model_name().to_string()];
        row.extend(
            (0..turns).map(|turn| cells::number(at.get(turn).and_then(|t| t.solved_at.percent))),
        );
        row.extend([
            cells::rate(&group.rate(None)),
            group.labels.mode_name().into(),
            sample_size(group),
        ]);
        row
    });
    let notes = vec![
        "Turn k: tasks first solved at turn k. This is not pass@k, which counts independent samples.".into(),
        INTERVALS.into(),
    ];
    Filled { header: columns, rows: rows.collect(), notes }
}
