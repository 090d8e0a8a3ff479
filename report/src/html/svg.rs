//! Charts as SVG. The page's style sheet defines the colours of the classes, for a
//! light and a dark theme. Legends are HTML, so that no name is cut off.

use std::fmt::Write as _;

use crate::metrics::Bin;
use minijinja::HtmlEscape;

/// Number of colours.
pub(crate) const COLOURS: usize = 8;

/// The most points of a series that are drawn as dots.
const MAX_DOTS: usize = 60;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 290.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 42.0;

/// A line chart's series.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A bar: position and height.
pub(crate) type Bar = (f64, f64);

/// The axes of a chart.
pub(crate) struct Axes {
    pub(crate) x_label: &'static str,
    pub(crate) y_label: &'static str,
    /// Positions and labels.
    pub(crate) x_ticks: Vec<(f64, String)>,
    pub(crate) y: (f64, f64),
    /// A dashed horizontal reference line.
    pub(crate) level: Option<f64>,
}

pub(crate) fn class(number: usize) -> String {
    format!("c{}", number % COLOURS)
}

/// Draws lines over bars. Either may be empty.
pub(crate) fn plot(axes: &Axes, bars: &[Bar], lines: &[Line]) -> String {
    let mut svg = start(HEIGHT, axes.y_label);
    let span = x_span(axes, bars);
    let scale = Scale { x: span, y: axes.y };
    let y_ticks = ticks(axes.y);
    for tick in &y_ticks {
        let y = scale.y(*tick);
        let _ = write!(
            svg,
            r#"<line class="axis" x1="{LEFT}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/>"#,
            WIDTH - RIGHT
        );
        text(&mut svg, LEFT - 7.0, y + 4.5, "end", &label(*tick, &y_ticks));
    }
    // At most 12 labels, so that they do not overlap.
    let every = axes.x_ticks.len().div_ceil(12).max(1);
    for (at, name) in axes.x_ticks.iter().step_by(every) {
        text(&mut svg, scale.x(*at), HEIGHT - BOTTOM + 18.0, "middle", name);
    }
    text(&mut svg, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 5.0, "middle", axes.x_label);
    let width = (0.6 * (WIDTH - LEFT - RIGHT) / (span.1 - span.0).max(1.0)).clamp(2.0, 40.0);
    for (at, height) in bars {
        let (x, y) = (scale.x(*at) - width / 2.0, scale.y(*height));
        let tall = (HEIGHT - BOTTOM - y).max(0.0);
        let _ = write!(
            svg,
            r#"<rect class="bar c0 faded" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{tall:.1}"><title>{}</title></rect>"#,
            number(*height)
        );
    }
    if let Some(level) = axes.level {
        let y = scale.y(level);
        let _ = write!(
            svg,
            r#"<line class="base" x1="{LEFT}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/>"#,
            WIDTH - RIGHT
        );
    }
    for (index, line) in lines.iter().enumerate() {
        draw(&mut svg, &scale, line, &class(index + usize::from(!bars.is_empty())));
    }
    svg.push_str("</svg>");
    svg
}

fn draw(svg: &mut String, scale: &Scale, line: &Line, class: &str) {
    let place = |(x, y): &(f64, f64)| format!("{:.1},{:.1}", scale.x(*x), scale.y(*y));
    let points: Vec<String> = line.points.iter().map(place).collect();
    let _ = write!(svg, r#"<polyline class="series {class}" points="{}"/>"#, points.join(" "));
    // Dots of long series would cover the line.
    let dots = if line.points.len() > MAX_DOTS { &[] } else { line.points.as_slice() };
    for (x, y) in dots {
        let _ = write!(
            svg,
            r#"<circle class="dot {class}" cx="{:.1}" cy="{:.1}" r="3"><title>{}: {}</title></circle>"#,
            scale.x(*x),
            scale.y(*y),
            HtmlEscape(&line.name),
            number(*y)
        );
    }
}

/// Draws a histogram.
pub(crate) fn histogram(bins: &[Bin], x_label: &'static str) -> String {
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0);
    let width = bins.first().map_or(1, |bin| bin.to - bin.from) as f64;
    let middle = |bin: &Bin| bin.from as f64 / width + 0.5;
    let bars: Vec<Bar> = bins.iter().map(|bin| (middle(bin), bin.count as f64)).collect();
    let every = bins.len().div_ceil(6).max(1);
    let ticks =
        bins.iter().step_by(every).map(|bin| (bin.from as f64 / width, bin.from.to_string()));
    let axes = Axes {
        x_label,
        y_label: "turns",
        x_ticks: ticks.collect(),
        y: (0.0, (most as f64).max(5.0)),
        level: None,
    };
    plot(&axes, &bars, &[])
}

/// Draws horizontal bars: for each name, one pair per group, with the second value
/// in front of the fainter first.
pub(crate) fn stacked(rows: &[(String, Vec<(usize, usize)>)]) -> String {
    const NAME: f64 = 150.0;
    const BAR: f64 = 17.0;
    let per_row = rows.first().map_or(1, |(_, bars)| bars.len()) as f64;
    let height = rows.len() as f64 * (per_row * BAR + 10.0) + 4.0;
    let most =
        rows.iter().flat_map(|(_, bars)| bars).map(|(all, _)| *all).max().unwrap_or(1).max(1);
    // Leaves space for the number after the longest bar.
    let scale = (WIDTH - NAME - 80.0) / most as f64;
    let mut svg = start(height, "count");
    for (index, (name, bars)) in rows.iter().enumerate() {
        let top = index as f64 * (per_row * BAR + 10.0) + 4.0;
        let short: String = match name.chars().count() > 21 {
            true => name.chars().take(20).chain(['…']).collect(),
            false => name.clone(),
        };
        text(&mut svg, NAME - 8.0, top + per_row * BAR / 2.0 + 4.5, "end", &short);
        for (at, (all, last)) in bars.iter().enumerate() {
            let (y, class) = (top + at as f64 * BAR, class(at));
            for (length, faded) in [(all, " faded"), (last, "")] {
                let _ = write!(
                    svg,
                    r#"<rect class="bar {class}{faded}" x="{NAME}" y="{y:.1}" width="{:.1}" height="{:.1}"/>"#,
                    *length as f64 * scale,
                    BAR - 2.0
                );
            }
            let end = NAME + *all as f64 * scale + 5.0;
            text(&mut svg, end, y + BAR - 4.5, "start", &format!("{last} / {all}"));
        }
    }
    svg.push_str("</svg>");
    svg
}

fn start(height: f64, label: &str) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">"#, HtmlEscape(label))
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = HtmlEscape(words);
    let _ = write!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{words}</text>"#);
}

struct Scale {
    x: (f64, f64),
    y: (f64, f64),
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        let (from, to) = self.x;
        LEFT + (value - from) / (to - from) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let (from, to) = self.y;
        HEIGHT - BOTTOM - (value - from) / (to - from) * (HEIGHT - BOTTOM - TOP)
    }
}

/// The range of positions, plus half a step on both sides.
fn x_span(axes: &Axes, bars: &[Bar]) -> (f64, f64) {
    let ticks = axes.x_ticks.iter().map(|(at, _)| *at);
    let places = ticks.chain(bars.iter().map(|(at, _)| *at));
    let (from, to) = places.fold((f64::MAX, f64::MIN), |(from, to), at| (from.min(at), to.max(at)));
    if from > to { (0.0, 1.0) } else { (from - 0.5, to + 0.5) }
}

/// Round tick positions, about five.
pub(crate) fn ticks((from, to): (f64, f64)) -> Vec<f64> {
    let rough = (to - from) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|s| *s >= rough);
    let step = step.unwrap_or(rough);
    let first = (from / step).ceil() as i64;
    (first..).map(|n| n as f64 * step).take_while(|tick| *tick <= to + 1e-9).collect()
}

/// At most one decimal, without a trailing zero; of values below 1 two digits.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.001 {
        return format!("{value:.1e}").replace(".0e", "e");
    }
    let decimals =
        if value == 0.0 || value.abs() >= 1.0 { 1 } else { 1 - value.abs().log10().floor() as i32 };
    trimmed(format!("{value:.*}", decimals.clamp(1, 4) as usize))
}

fn trimmed(number: String) -> String {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => number,
    }
}

/// A tick with as many decimals as tell it from the next.
fn label(tick: f64, ticks: &[f64]) -> String {
    let step = ticks.windows(2).next().map_or(1.0, |pair| pair[1] - pair[0]);
    if step < 0.000_5 && tick.abs() < 0.01 {
        return if tick.abs() < step / 2.0 {
            "0".into()
        } else {
            format!("{tick:.1e}").replace(".0e", "e")
        };
    }
    let decimals = (-(step * 1.000_001).log10().floor()).clamp(0.0, 6.0) as usize;
    let label = trimmed(format!("{tick:.decimals$}"));
    if label == "-0" { "0".into() } else { label }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        #[track_caller]
        fn check(range: (f64, f64), expected: &[f64]) {
            assert_eq!(ticks(range), expected);
        }
        check((0.0, 100.0), &[0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        check((52.0, 87.0), &[60.0, 70.0, 80.0]);
        check((0.0, 1.0), &[0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!([number(12.0), number(12.34)], ["12", "12.3"]);
        assert_eq!(
            [0.0, 0.5, 0.25, 0.051, 0.0001].map(number),
            ["0", "0.5", "0.25", "0.051", "1e-4"]
        );
    }

    #[test]
    fn labels_tell_ticks_apart() {
        #[track_caller]
        fn check(range: (f64, f64), expected: &[&str]) {
            let ticks = ticks(range);
            let labels: Vec<String> = ticks.iter().map(|tick| label(*tick, &ticks)).collect();
            assert_eq!(labels, expected);
        }
        check((0.0, 100.0), &["0", "20", "40", "60", "80", "100"]);
        check((0.0, 1.0), &["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        check((2.31, 2.39), &["2.32", "2.34", "2.36", "2.38"]);
        check((0.0, 1e-4), &["0", "2e-5", "4e-5", "6e-5", "8e-5", "1e-4"]);
    }

    #[test]
    fn names_are_escaped() {
        let line = Line { name: "<b>".into(), points: vec![(1.0, 1.0)] };
        let axes = Axes {
            x_label: "turn",
            y_label: "%",
            x_ticks: vec![(1.0, "<1>".into())],
            y: (0.0, 2.0),
            level: None,
        };
        let svg = plot(&axes, &[], &[line]);
        assert!(svg.contains("&lt;b&gt;: 1") && svg.contains("&lt;1&gt;") && !svg.contains("<b>"));
    }
}
