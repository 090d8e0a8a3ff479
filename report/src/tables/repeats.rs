//! Variation between repeats of one configuration, and pass@k over them (paper:
//! figures 4.1 and 4.2).

use std::collections::BTreeMap;

use crate::metrics::{Share, pass_at, spread};

use super::super::groups::{Group, RunSet};
use super::{Entry, Filled, header, sample_size};

pub(super) const ENTRY: Entry = Entry {
    name: "repeats",
    number: None,
    title: "Repeats: solved by turn, mean % ± σ in points; pass@k over repeats, %",
    needs: "several runs of one configuration, or a run with --samples",
    fill,
};

fn fill(set: &RunSet<'_>) -> Filled {
    let groups: Vec<&Group<'_>> = set.reported().filter(|group| group.repeats.len() > 1).collect();
    let turns = groups.iter().map(|group| group.turns().len()).max().unwrap_or(0);
    let most = groups.iter().map(|group| group.repeats.len()).max().unwrap_or(0);
    let mut columns = header(&["Model", "Repeats"]);
    columns.extend((1..=turns).map(|turn| format!("By turn {turn}")));
    columns.extend((1..=most).map(|k| format!("pass@{k}")));
    columns.push("n".into());
    let rows = groups.iter().map(|group| {
        let mut row = vec![group.labels.shown(), group.repeats.len().to_string()];
        row.extend((1..=turns).map(|turn| by(group, turn)));
        row.extend((1..=most).map(|k| pass(group, k)));
        row.push(sample_size(group));
        row
    });
    let notes = vec![
        "pass@k: unbiased estimate (Chen et al., 2021); one sample is a whole episode. It covers \
         the tasks with at least k episodes; their number is in parentheses."
            .into(),
    ];
    Filled { header: columns, rows: rows.collect(), notes }
}

fn by(group: &Group<'_>, turn: usize) -> String {
    let solved = |repeat: &Vec<_>| {
        let by = |attempt: &&super::super::run_metrics::Attempt| {
            attempt.solved_at.is_some_and(|at| at <= turn)
        };
        Share::of(repeat.iter().map(by)).percent
    };
    let percents: Vec<f64> = group.repeats.iter().filter_map(solved).collect();
    spread(&percents).map_or(String::new(), |s| format!("{:.1} ± {:.2}", s.mean, s.sigma))
}

fn pass(group: &Group<'_>, k: usize) -> String {
    let mut tasks: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for attempt in group.attempts() {
        let (n, correct) = tasks.entry(&attempt.task).or_default();
        *n += 1;
        *correct += usize::from(attempt.solved_at.is_some());
    }
    let chances: Vec<f64> = tasks
        .values()
        .filter(|(n, _)| *n >= k)
        .map(|(n, correct)| pass_at(k, *n, *correct))
        .collect();
    crate::metrics::mean(&chances)
        .map_or(String::new(), |mean| format!("{:.1} ({})", 100.0 * mean, chances.len()))
}
