//! Table 5.1: models before training, turn by turn.

use super::super::cells;
use super::super::groups::Set;
use super::{Entry, Filled, INTERVALS, header, methods, of};

pub(super) const ENTRY: Entry = Entry {
    name: "5.1",
    title: "models before training: solved at each turn, %",
    needs: "runs of models that were not trained (method=base)",
    fill,
};

fn fill(set: &Set<'_>) -> Filled {
    let groups: Vec<_> = methods(set).into_iter().filter(|group| group.labels.is_base()).collect();
    let turns = groups.iter().map(|group| group.turns().len()).max().unwrap_or(0);
    let mut columns = vec!["model".to_string()];
    columns.extend((1..=turns).map(|turn| format!("@{turn}")));
    columns.extend(header(&["total", "mode", "of"]));
    let rows = groups.iter().map(|group| {
        let at = group.turns();
        let mut row = vec![group.labels.model_name().to_string()];
        row.extend(
            (0..turns).map(|turn| cells::number(at.get(turn).and_then(|t| t.solved_at.percent))),
        );
        row.extend([cells::rate(&group.rate(None)), group.labels.mode_name().into(), of(group)]);
        row
    });
    let notes = vec![
        "@k is what the k-th turn adds: solved@turn, not pass@k over samples.".into(),
        INTERVALS.into(),
    ];
    Filled { header: columns, rows: rows.collect(), notes }
}
