//! The figures of the paper, for any set of runs.

use std::collections::BTreeMap;

use crate::metrics::length::histogram;

use super::super::groups::{Group, RunSet};
use super::super::labels::Labels;
use super::super::run_metrics::ReasoningLength;
use super::super::tables::{ISSUES, counted_errors};
use super::svg::{self, Axes, Bar, COLOURS, Line};
use super::{Chart, Key};

pub(super) fn charts(set: &RunSet<'_>) -> Vec<Chart> {
    let chosen: Vec<&Group<'_>> =
        set.chosen().into_iter().filter(|group| group.benchmark != ISSUES).collect();
    let mut charts = by_turn(&chosen);
    charts.extend(checkpoints(set));
    charts.extend(ranks(set));
    charts.extend(lengths(&chosen));
    charts.extend(errors(&chosen));
    charts
}

fn keys(names: impl IntoIterator<Item = String>) -> Vec<Key> {
    names.into_iter().enumerate().map(|(n, name)| Key { class: svg::class(n), name }).collect()
}

/// The range of the values, extended to multiples of ten.
fn around(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let (from, to) =
        values.into_iter().fold((f64::MAX, f64::MIN), |(from, to), v| (from.min(v), to.max(v)));
    if from > to {
        return (0.0, 100.0);
    }
    let (from, to) = ((from / 10.0).floor() * 10.0, (to / 10.0).ceil() * 10.0);
    (from.max(0.0), to.max(from + 10.0))
}

fn solved_by(group: &Group<'_>) -> Vec<(f64, f64)> {
    let turns = group.turns().into_iter();
    turns.filter_map(|turn| Some((turn.turn as f64, turn.solved_by.percent?))).collect()
}

/// Solved by turn: all base models, then each base model with its students.
fn by_turn(chosen: &[&Group<'_>]) -> Vec<Chart> {
    let (bases, students): (Vec<_>, Vec<_>) =
        chosen.iter().partition(|group| group.labels.is_base());
    let mut families: Vec<(String, Vec<&Group<'_>>)> =
        vec![("Base models: solved by turn".into(), bases.clone())];
    let mut models: BTreeMap<&str, Vec<&Group<'_>>> = BTreeMap::new();
    for student in students {
        models.entry(student.labels.model_name()).or_default().push(student);
    }
    for (model, students) in models {
        let before = bases.iter().filter(|base| base.labels.model_name() == model);
        families.push((
            format!("{model} before and after training: solved by turn"),
            before.copied().chain(students).collect(),
        ));
    }
    let mut charts = Vec::new();
    for (title, groups) in &families {
        charts.extend(groups.chunks(COLOURS).map(|groups| turn_chart(title, groups)));
    }
    charts
}

fn turn_chart(title: &str, groups: &[&Group<'_>]) -> Chart {
    let lines: Vec<Line> = groups
        .iter()
        .map(|group| Line { name: group.labels.shown(), points: solved_by(group) })
        .collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let turns = points().map(|(turn, _)| *turn as usize).max().unwrap_or(1);
    let axes = Axes {
        x_label: "turn",
        y_label: "% solved by turn",
        x_ticks: (1..=turns).map(|turn| (turn as f64, turn.to_string())).collect(),
        y: around(points().map(|(_, percent)| *percent)),
        level: None,
    };
    Chart {
        title: title.into(),
        svg: svg::plot(&axes, &[], &lines),
        legend: keys(lines.into_iter().map(|line| line.name)),
        note: "% of tasks.".into(),
    }
}

/// Training runs with several checkpoints, sorted by epoch.
fn trainings<'s, 'm>(set: &'s RunSet<'m>) -> BTreeMap<Labels, Vec<&'s Group<'m>>> {
    let mut all: BTreeMap<Labels, Vec<&Group<'_>>> = BTreeMap::new();
    for group in set.reported().filter(|g| g.labels.epoch.is_some() && g.benchmark != ISSUES) {
        all.entry(group.labels.any_epoch()).or_default().push(group);
    }
    all.retain(|_, groups| groups.len() > 1);
    all.values_mut().for_each(|groups| groups.sort_by_key(|group| group.labels.epoch));
    all
}

fn epoch(group: &Group<'_>) -> f64 {
    f64::from(group.labels.epoch.unwrap_or(0))
}

fn epoch_ticks<'g>(groups: impl IntoIterator<Item = &'g Group<'g>>) -> Vec<(f64, String)> {
    let mut epochs: Vec<u32> = groups.into_iter().filter_map(|group| group.labels.epoch).collect();
    epochs.sort_unstable();
    epochs.dedup();
    epochs.into_iter().map(|epoch| (f64::from(epoch), epoch.to_string())).collect()
}

/// Bars: solved by the first turn. Lines: solved by each later turn.
fn checkpoints(set: &RunSet<'_>) -> Vec<Chart> {
    let chart = |(labels, groups): (Labels, Vec<&Group<'_>>)| {
        let at = |group: &Group<'_>, turn: usize| {
            group.turns().get(turn - 1).and_then(|turn| turn.solved_by.percent)
        };
        let turns = groups.iter().map(|group| group.turns().len()).max().unwrap_or(1);
        let series = |turn: usize| -> Vec<(f64, f64)> {
            groups.iter().filter_map(|group| Some((epoch(group), at(group, turn)?))).collect()
        };
        let bars: Vec<Bar> = series(1);
        let lines: Vec<Line> = (2..=turns)
            .map(|turn| Line { name: format!("by turn {turn}"), points: series(turn) })
            .collect();
        let base = groups.first().and_then(|group| set.find(&labels.base(), group));
        let level = base.and_then(|base| base.rate(None)).map(|rate| rate.percent);
        let values = bars.iter().chain(lines.iter().flat_map(|line| &line.points)).map(|(_, y)| *y);
        let axes = Axes {
            x_label: "epoch",
            y_label: "% solved",
            x_ticks: epoch_ticks(groups.iter().copied()),
            // Bars start at zero.
            y: (0.0, around(values.chain(level)).1),
            level,
        };
        let svg = svg::plot(&axes, &bars, &lines);
        let names = ["by turn 1 (bars)".to_string()].into_iter();
        let base = level.map_or("", |_| " Dashed line: base model, by the last turn.");
        Chart {
            title: format!("{}: checkpoints", labels.shown()),
            svg,
            legend: keys(names.chain(lines.into_iter().map(|line| line.name))),
            note: format!("% of tasks solved.{base}"),
        }
    };
    trainings(set).into_iter().map(chart).collect()
}

/// Ranks of one training configuration, over epochs if there are several.
fn ranks(set: &RunSet<'_>) -> Vec<Chart> {
    let mut sweeps: BTreeMap<Labels, BTreeMap<u32, Vec<&Group<'_>>>> = BTreeMap::new();
    for group in set.reported().filter(|group| group.benchmark != ISSUES) {
        let Some(rank) = group.labels.rank else { continue };
        let sweep = Labels { rank: None, ..group.labels.any_epoch() };
        sweeps.entry(sweep).or_default().entry(rank).or_default().push(group);
    }
    sweeps.retain(|_, ranks| ranks.len() > 1);
    sweeps.into_iter().map(|(labels, ranks)| rank_chart(&labels, ranks)).collect()
}

fn rank_chart(labels: &Labels, mut ranks: BTreeMap<u32, Vec<&Group<'_>>>) -> Chart {
    ranks.values_mut().for_each(|groups| groups.sort_by_key(|group| group.labels.epoch));
    let percent = |group: &Group<'_>| group.rate(None).map(|rate| rate.percent);
    let over_epochs = ranks.values().any(|groups| groups.len() > 1);
    let (lines, x_ticks): (Vec<Line>, Vec<_>) = match over_epochs {
        true => {
            let line = |(rank, groups): (&u32, &Vec<&Group<'_>>)| Line {
                name: format!("rank {rank}"),
                points: groups.iter().filter_map(|g| Some((epoch(g), percent(g)?))).collect(),
            };
            let all = ranks.values().flatten().copied();
            (ranks.iter().map(line).collect(), epoch_ticks(all))
        }
        false => {
            let place = |(at, (_, groups)): (usize, (&u32, &Vec<&Group<'_>>))| {
                Some((at as f64, percent(groups.first()?)?))
            };
            let points = ranks.iter().enumerate().filter_map(place).collect();
            let ticks = ranks.keys().enumerate().map(|(at, rank)| (at as f64, rank.to_string()));
            (vec![Line { name: "solved by the last turn".into(), points }], ticks.collect())
        }
    };
    let axes = Axes {
        x_label: if over_epochs { "epoch" } else { "rank" },
        y_label: "% solved",
        x_ticks,
        y: around(lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y)),
        level: None,
    };
    Chart {
        title: format!("{}: ranks", labels.shown()),
        svg: svg::plot(&axes, &[], &lines),
        legend: keys(lines.into_iter().map(|line| line.name)),
        note: "% of tasks solved by the last turn.".into(),
    }
}

/// Length of a reasoning trace in some unit.
type Measure = fn(&ReasoningLength) -> Option<u64>;

/// Histograms of the reasoning length of each model.
fn lengths(chosen: &[&Group<'_>]) -> Vec<Chart> {
    let units: [(&str, Measure); 3] = [
        ("words", |length| Some(length.words)),
        ("characters", |length| Some(length.characters)),
        ("tokens", |length| length.tokens),
    ];
    let mut charts = Vec::new();
    for group in chosen {
        for (unit, of) in units {
            let lengths: Vec<u64> = group
                .attempts()
                .flat_map(|attempt| &attempt.reasoning_lengths)
                .filter_map(of)
                .collect();
            if lengths.is_empty() {
                continue;
            }
            charts.push(Chart {
                title: format!("{}: {unit} of reasoning per turn", group.labels.shown()),
                svg: svg::histogram(&histogram(&lengths), unit),
                legend: Vec::new(),
                note: format!("{} turns with reasoning.", lengths.len()),
            });
        }
    }
    charts
}

/// Maximum number of errors in a chart.
const ERRORS: usize = 10;
/// Maximum number of models in a chart.
const MODELS_PER_CHART: usize = 4;

fn errors(chosen: &[&Group<'_>]) -> Vec<Chart> {
    chosen.chunks(MODELS_PER_CHART).filter_map(error_chart).collect()
}

fn error_chart(groups: &[&Group<'_>]) -> Option<Chart> {
    let counted: Vec<_> = groups.iter().map(|group| counted_errors(group)).collect();
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    for (error, all, _) in counted.iter().flatten() {
        *totals.entry(error).or_default() += all;
    }
    let mut names: Vec<(&str, usize)> = totals.into_iter().collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let left_out = names.len().saturating_sub(ERRORS);
    names.truncate(ERRORS);
    let of = |name: &str| {
        let find = |rows: &Vec<(&str, usize, usize)>| {
            rows.iter()
                .find(|(error, ..)| *error == name)
                .map_or((0, 0), |(_, all, last)| (*all, *last))
        };
        counted.iter().map(find).collect::<Vec<_>>()
    };
    let rows: Vec<_> = names.iter().map(|(name, _)| ((*name).to_string(), of(name))).collect();
    let more = if left_out > 0 {
        format!(" Not shown: {left_out} less frequent errors.")
    } else {
        String::new()
    };
    (!rows.is_empty()).then(|| Chart {
        title: "Errors by type".into(),
        svg: svg::stacked(&rows),
        legend: keys(groups.iter().map(|group| group.labels.shown())),
        note: format!("Solid: unsolved after the last turn. Faint: all failing turns.{more}"),
    })
}
