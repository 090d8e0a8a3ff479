//! Plots of a training.

use serde::Serialize;

use super::log::{Step, Training};
use super::paint;
use crate::html::svg::{self, Axes, COLOURS, Line};

/// The most points of a series; more are averaged.
const MAX_POINTS: usize = 400;

#[derive(Serialize)]
pub(super) struct Chart {
    /// Its name in updates.
    pub(super) name: &'static str,
    title: &'static str,
    pub(super) svg: String,
    /// The class and the name of each series, if there are several.
    legend: Vec<(String, String)>,
}

/// The plots of one training. A value that no step has gives no plot.
pub(super) fn of(training: &Training) -> Vec<Chart> {
    let series = |of: fn(&Step) -> Option<f64>| -> Vec<(f64, f64)> {
        let steps = training.steps.iter();
        steps.filter_map(|step| Some((step.step as f64, of(step)?))).collect()
    };
    let line = |name: &str, points| Line { name: name.into(), points };
    let validations = training.validations.iter().map(|(step, loss)| (*step as f64, *loss));
    let solved = training
        .checkpoints
        .iter()
        .filter_map(|one| Some((one.step as f64, 100.0 * one.solved?.share())));
    let charts = [
        chart(
            "loss",
            "Loss",
            "loss",
            vec![
                line("training", series(|step| Some(step.loss))),
                line("validation", validations.collect()),
            ],
        ),
        chart(
            "rate",
            "Learning rate",
            "learning rate",
            vec![line("rate", series(|step| step.rate))],
        ),
        chart(
            "gradient",
            "Gradient norm",
            "gradient norm",
            vec![line("gradient norm", series(|step| step.gradient))],
        ),
        chart(
            "speed",
            "Tokens per second",
            "tokens/s",
            vec![line("tokens per second", series(|step| step.speed))],
        ),
        chart(
            "solved",
            "Tasks solved by checkpoint",
            "% solved",
            vec![line("solved", solved.collect())],
        ),
    ];
    charts.into_iter().flatten().collect()
}

/// The losses of several trainings in as many plots as there are colours for.
pub(super) fn losses(trainings: &[Training]) -> Vec<Chart> {
    let line = |training: &Training| Line {
        name: training.name.clone(),
        points: training.steps.iter().map(|step| (step.step as f64, step.loss)).collect(),
    };
    let charts = trainings.chunks(COLOURS);
    charts
        .filter_map(|some| chart("loss", "Loss", "loss", some.iter().map(line).collect()))
        .collect()
}

fn chart(
    name: &'static str,
    title: &'static str,
    y_label: &'static str,
    lines: Vec<Line>,
) -> Option<Chart> {
    let finite = |(_, y): &(f64, f64)| y.is_finite();
    let lines = lines.into_iter().map(|line| {
        let points: Vec<_> = line.points.into_iter().filter(finite).collect();
        Line { points: thinned(&points), ..line }
    });
    let lines: Vec<Line> = lines.filter(|line| !line.points.is_empty()).collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let values = points().map(of);
        values.fold((f64::MAX, f64::MIN), |(from, to), value| (from.min(value), to.max(value)))
    };
    let ((first, last), (least, most)) = (range(|point| point.0), range(|point| point.1));
    if lines.is_empty() {
        return None;
    }
    let y = if least < most { (least, most) } else { (0.0, most.abs().max(1e-9) * 1.25) };
    let mut x_ticks: Vec<f64> = match first < last {
        true => svg::ticks((first, last)).into_iter().filter(|at| at.fract() == 0.0).collect(),
        false => vec![first],
    };
    if x_ticks.len() < 2 {
        x_ticks = vec![first, last];
        x_ticks.dedup();
    }
    // The span of the axis is that of its ticks.
    let ends = [first, last].map(|end| (end, String::new()));
    let ticks = x_ticks.into_iter().map(|at| (at, format!("{at:.0}")));
    let axes =
        Axes { x_label: "step", y_label, x_ticks: ticks.chain(ends).collect(), y, level: None };
    let legend =
        lines.iter().enumerate().map(|(at, line)| (svg::class(at), paint::text(&line.name)));
    let legend = if lines.len() > 1 { legend.collect() } else { Vec::new() };
    Some(Chart { name, title, svg: svg::plot(&axes, &[], &lines), legend })
}

/// Means of neighbouring points, so that a page stays small.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(MAX_POINTS).max(1);
    let mean = |some: &[(f64, f64)]| {
        let sum = some.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / some.len() as f64, sum.1 / some.len() as f64)
    };
    points.chunks(size).map(mean).collect()
}
