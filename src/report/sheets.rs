//! A report as tables of words: what a person reads, and a spreadsheet too.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use fixfly_benchmarks::metrics::{Share, SolvedAt};
use serde::Serialize;

use super::costs::Costs;
use super::measure::{Named, RunReport};

/// One table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// What has to be known to read it.
    pub(crate) notes: Vec<String>,
}

/// Every table of a run that has a row.
pub(crate) fn sheets(report: &RunReport) -> Vec<Table> {
    let mut sheets = vec![
        turns(report),
        overall(report),
        named("how episodes ended", "end", &report.ends),
        named("what came of turns", "outcome", &report.outcomes),
        errors(report),
        named("what a training set keeps", "episodes", &report.retention),
        named("solved episodes by the idea of the solving turn", "idea", &report.ideas),
        costs(&report.costs),
        named("why the model stopped", "finish", &report.costs.finishes),
        times(report),
    ];
    sheets.insert(2, samples(report));
    sheets.retain(|sheet| !sheet.rows.is_empty());
    sheets
}

/// As boxes, no wider than the terminal that they are for.
pub(crate) fn table(sheet: &Table, columns: Option<u16>) -> String {
    let mut table = Table::new();
    if let Some(columns) = columns {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    }
    fill(sheet, table.load_style(presets::UTF8_FULL_CONDENSED))
}

/// As Markdown.
pub(crate) fn markdown(sheet: &Table) -> String {
    fill(sheet, Table::new().load_style(presets::ASCII_MARKDOWN))
}

fn fill(sheet: &Table, table: &mut Table) -> String {
    table.set_header(&sheet.header).add_rows(&sheet.rows);
    for (at, column) in table.column_iter_mut().enumerate().skip(1) {
        if sheet.rows.iter().all(|row| row.get(at).is_none_or(|cell| is_number(cell))) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// Whether a cell reads from the right: a number, with what belongs to it, or nothing.
fn is_number(cell: &str) -> bool {
    let digits = cell.trim_start_matches(['+', '-', '<', '≤', '$']);
    matches!(cell, "" | "—") || digits.starts_with(|first: char| first.is_ascii_digit())
}

const SHARE: [&str; 5] = ["count", "of", "%", "95 % from", "to"];

fn share(share: &Share) -> [String; 5] {
    let cell =
        |percent: Option<f64>| percent.map_or(String::new(), |percent| format!("{percent:.1}"));
    [
        share.count.to_string(),
        share.of.to_string(),
        cell(share.percent),
        cell(share.low),
        cell(share.high),
    ]
}

fn row(name: impl Into<String>, cells: impl IntoIterator<Item = String>) -> Vec<String> {
    [name.into()].into_iter().chain(cells).collect()
}

fn header(first: &str, others: &[&str]) -> Vec<String> {
    [&[first], others].concat().into_iter().map(String::from).collect()
}

fn sheet(title: &str, header: Vec<String>, rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    Table { title: title.into(), header, rows: rows.into_iter().collect(), notes: Vec::new() }
}

fn turns(report: &RunReport) -> Table {
    let cells = |turn: &SolvedAt| {
        let [at, _, at_percent, ..] = share(&turn.solved_at);
        let [by, of, by_percent, low, high] = share(&turn.solved_by);
        row(turn.turn.to_string(), [at, at_percent, by, by_percent, low, high, of])
    };
    let header = header("turn", &["at it", "%", "by it", "% by it", "95 % from", "to", "of"]);
    sheet("solved, turn by turn", header, report.turns.iter().map(cells))
}

fn overall(report: &RunReport) -> Table {
    let rows = vec![
        row("solved", share(&report.solved)),
        row("solved, of those described by docstring", share(&report.solved_docstring_only)),
        row("held up under wider tests, of solved", share(&report.hidden_tests_pass)),
        row("exact match, of solved", share(&report.exact_match)),
        row("for review (looks into its interpreter), of solved", share(&report.to_review)),
        row("tampered", share(&report.tampered)),
        row("model failed (unsolved)", share(&report.model_failures)),
    ];
    sheet("overall", header("episodes", &SHARE), rows)
}

fn samples(report: &RunReport) -> Table {
    let mut rows = Vec::new();
    if let Some(samples) = &report.samples {
        for (number, solved) in samples.each.iter().enumerate() {
            let [count, of, percent, ..] = share(solved);
            rows.push(row(format!("sample {number}: solved"), [percent, String::new(), count, of]));
        }
        if let Some(spread) = &samples.percent {
            let (mean, sigma) = (format!("{:.1}", spread.mean), format!("{:.2}", spread.sigma));
            let of = format!("{} samples", samples.each.len());
            rows.push(row("mean over samples", [mean, sigma, String::new(), of]));
        }
        for pass in &samples.pass_at {
            let name = format!("pass@{}, unbiased, k samples", pass.k);
            let of = format!("{} tasks", pass.tasks);
            rows.push(row(
                name,
                [format!("{:.1}", pass.percent), String::new(), String::new(), of],
            ));
        }
    }
    sheet("over samples (not turns)", header("measure", &["%", "σ", "count", "of"]), rows)
}

fn named(title: &str, first: &str, rows: &[Named]) -> Table {
    let cells = |named: &Named| row(&named.name, share(&named.share).into_iter().take(3));
    sheet(title, header(first, &SHARE[..3]), rows.iter().map(cells))
}

fn errors(report: &RunReport) -> Table {
    let rows = report.errors.iter().map(|error| {
        let [turns, of_turns, turns_percent, ..] = share(&error.turns);
        let [unsolved, of_unsolved, unsolved_percent, ..] = share(&error.unsolved);
        let intermediate = error.intermediate.to_string();
        let cells =
            [turns, of_turns, turns_percent, intermediate, unsolved, of_unsolved, unsolved_percent];
        row(&error.error, cells)
    });
    let header = header(
        "error",
        &[
            "failing turns",
            "of",
            "%",
            "then another turn",
            "last turn of unsolved",
            "of unsolved",
            "% of unsolved",
        ],
    );
    sheet("errors, by the first failing test of a turn", header, rows)
}

fn costs(costs: &Costs) -> Table {
    let of = |turns: usize| format!("{turns} turns");
    let line = |what: &str, sum: String, turns| row(what, [sum, of(turns)]);
    let rows = match costs.turns {
        0 => Vec::new(),
        turns => vec![
            line("tokens read", costs.prompt_tokens.to_string(), turns),
            line("of them known from before", costs.cached_tokens.to_string(), turns),
            line("tokens written", costs.completion_tokens.to_string(), turns),
            line(
                "of them reasoning, as counted by the server",
                costs.reasoning_tokens.to_string(),
                turns,
            ),
            line("calls, failed ones included", costs.calls.to_string(), turns),
            line(
                "US dollars, where the price is known",
                format!("{:.4}", costs.usd),
                costs.priced_turns,
            ),
        ],
    };
    sheet("what the model's words cost", header("cost", &["sum", "in"]), rows)
}

fn times(report: &RunReport) -> Table {
    let seconds = |seconds: f64| format!("{seconds:.2}");
    let cell = |value: Option<f64>| value.map_or(String::new(), seconds);
    let mut rows: Vec<_> = report
        .times
        .iter()
        .map(|time| {
            let cells =
                [cell(time.median_seconds), cell(time.p95_seconds), seconds(time.total_seconds)];
            row(&time.what, cells)
        })
        .collect();
    if let Some(wall) = report.wall_seconds {
        rows.push(row("from first start to last end", ["".into(), "".into(), seconds(wall)]));
    }
    sheet("time, seconds", header("time", &["median", "95th of 100", "total"]), rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_no_wider_than_its_terminal() {
        let because = "a student beside its base model: +1.5 points (-0.2 to +3.2; 397)";
        let cells = ["not enough data", because, "+1.5 (-0.2–3.2)"].map(String::from);
        let rows = [row("LoRA students solve more than the model they came of", cells)];
        let sheet = sheet("claims", header("claim", &["here", "because", "points"]), rows);
        let narrow = table(&sheet, Some(60));
        assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
        insta::assert_snapshot!(narrow);
        assert_eq!(table(&sheet, None), table(&sheet, Some(400)));
    }

    #[track_caller]
    fn check(cell: &str, expected: bool) {
        assert_eq!(is_number(cell), expected, "{cell}");
    }

    #[test]
    fn numbers_read_from_the_right() {
        for cell in ["", "—", "0", "5.2.1, 5.5", "+0.5 (-0.9 to +1.9)", "$1.20", "215 tasks"] {
            check(cell, true);
        }
        for cell in ["no-think", "not enough data", "-", "p < 0.05"] {
            check(cell, false);
        }
    }
}
