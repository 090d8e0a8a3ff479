//! The tables of one run, and the drawing of tables.

use comfy_table::{CellAlignment, ContentArrangement, presets};
use fixfly_runtime::printable;

use crate::metrics::{Share, SolvedAt};
use serde::Serialize;

use super::answers::AnswersAt;
use super::costs::{Costs, Named};
use super::run_report::RunReport;

/// One table of text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    /// Printed below the table.
    pub(crate) notes: Vec<String>,
}

/// All non-empty tables of a run.
pub(crate) fn tables(report: &RunReport) -> Vec<Table> {
    let mut tables = vec![
        turns(report),
        overall(report),
        samples(report),
        named("How episodes ended", "End", &report.ends),
        named("Turn outcomes", "Outcome", &report.outcomes),
        answers(report),
        errors(report),
        named("Episodes a training set would keep", "Episodes", &report.retention),
        named("Solved episodes, by the idea of the solving turn", "Idea", &report.ideas),
        costs(&report.costs),
        named("Finish reasons of the model", "Finish reason", &report.costs.finishes),
        times(report),
    ];
    tables.retain(|table| !table.rows.is_empty());
    tables
}

/// Draws a table with borders, at most `columns` wide.
pub(crate) fn render(table: &Table, columns: Option<u16>) -> String {
    let mut grid = comfy_table::Table::new();
    if let Some(columns) = columns {
        grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    }
    fill(table, grid.load_style(presets::UTF8_FULL_CONDENSED), shown)
}

pub(crate) fn markdown(table: &Table) -> String {
    fill(table, comfy_table::Table::new().load_style(presets::ASCII_MARKDOWN), in_markdown)
}

/// A cell as one line. It is escaped here already, for the widths of columns.
fn shown(cell: &str) -> String {
    printable(cell).replace(['\n', '\t'], " ")
}

/// A cell that is neither a border of the table nor HTML.
fn in_markdown(cell: &str) -> String {
    let mut text = String::new();
    let cell = shown(cell).replace('|', "\\|");
    let mut letters = cell.chars().peekable();
    while let Some(letter) = letters.next() {
        let is_tag = |next: &char| next.is_ascii_alphabetic() || "/!?".contains(*next);
        if letter == '<' && letters.peek().is_some_and(is_tag) {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

fn fill(table: &Table, grid: &mut comfy_table::Table, cell: fn(&str) -> String) -> String {
    grid.set_header(table.header.iter().map(|text| cell(text)));
    grid.add_rows(
        table.rows.iter().map(|row| row.iter().map(|text| cell(text)).collect::<Vec<_>>()),
    );
    for (at, column) in grid.column_iter_mut().enumerate().skip(1) {
        if table.rows.iter().all(|row| row.get(at).is_none_or(|cell| is_number(cell))) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    grid.trim_fmt()
}

/// Whether a cell is aligned to the right: it is empty or starts with a number.
fn is_number(cell: &str) -> bool {
    let digits = cell.trim_start_matches(['+', '-', '<', '≤', '$']);
    matches!(cell, "" | "—") || digits.starts_with(|first: char| first.is_ascii_digit())
}

const SHARE: [&str; 4] = ["Count", "n", "%", "95 % CI"];

fn share(share: &Share) -> [String; 4] {
    let percent = share.percent.map_or(String::new(), |percent| format!("{percent:.1}"));
    let interval = share.low.zip(share.high);
    let interval = interval.map_or(String::new(), |(low, high)| format!("{low:.1}–{high:.1}"));
    [share.count.to_string(), share.of.to_string(), percent, interval]
}

fn row(name: impl Into<String>, cells: impl IntoIterator<Item = String>) -> Vec<String> {
    [name.into()].into_iter().chain(cells).collect()
}

fn header(first: &str, others: &[&str]) -> Vec<String> {
    [&[first], others].concat().into_iter().map(String::from).collect()
}

fn table(title: &str, header: Vec<String>, rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    Table { title: title.into(), header, rows: rows.into_iter().collect(), notes: Vec::new() }
}

pub(crate) fn turns(report: &RunReport) -> Table {
    let cells = |turn: &SolvedAt| {
        let [new, ..] = share(&turn.solved_at);
        let [solved, n, percent, interval] = share(&turn.solved_by);
        row(turn.turn.to_string(), [new, solved, percent, interval, n])
    };
    let header = header("Turn", &["New", "Solved by turn", "%", "95 % CI", "n"]);
    table("Solved by turn", header, report.turns.iter().map(cells))
}

fn overall(report: &RunReport) -> Table {
    let rows = vec![
        row("solved", share(&report.solved)),
        row("solved, of tasks described by a docstring", share(&report.solved_docstring_only)),
        row("hidden tests pass, of solved", share(&report.hidden_tests_pass)),
        row("exact match, of solved", share(&report.exact_match)),
        row("needs review (inspects the interpreter), of solved", share(&report.to_review)),
        row("tampered", share(&report.tampered)),
        row("model failed (counted as unsolved)", share(&report.model_failures)),
    ];
    table("Overall", header("Episodes", &SHARE), rows)
}

fn samples(report: &RunReport) -> Table {
    let mut rows = Vec::new();
    if let Some(samples) = &report.samples {
        for (number, solved) in samples.each.iter().enumerate() {
            let [count, n, percent, _] = share(solved);
            rows.push(row(format!("sample {number}: solved"), [count, n, percent, String::new()]));
        }
        if let Some(spread) = &samples.percent {
            let (mean, sigma) = (format!("{:.1}", spread.mean), format!("{:.2}", spread.sigma));
            let n = format!("{} samples", samples.each.len());
            rows.push(row("mean over samples", [String::new(), n, mean, sigma]));
        }
        for pass in &samples.pass_at {
            let name = format!("pass@{} (unbiased)", pass.k);
            let n = format!("{} tasks", pass.tasks);
            rows.push(row(name, [String::new(), n, format!("{:.1}", pass.percent), String::new()]));
        }
    }
    table("Independent samples", header("Measure", &["Count", "n", "%", "σ"]), rows)
}

fn named(title: &str, first: &str, rows: &[Named]) -> Table {
    let cells = |named: &Named| row(&named.name, share(&named.share).into_iter().take(3));
    table(title, header(first, &SHARE[..3]), rows.iter().map(cells))
}

fn answers(report: &RunReport) -> Table {
    let cells = |at: &AnswersAt| {
        let [repeated, n, repeated_percent, _] = share(&at.repeated);
        let [missing, _, missing_percent, _] = share(&at.missing);
        row(at.turn.to_string(), [n, repeated, repeated_percent, missing, missing_percent])
    };
    let header = header(
        "Turn",
        &["Answers", "Repeat an earlier one", "%", "Remove what is not in the method", "%"],
    );
    table("Answers to faulty methods, by turn", header, report.answers.iter().map(cells))
}

fn errors(report: &RunReport) -> Table {
    let rows = report.errors.iter().map(|error| {
        let [turns, n_turns, turns_percent, _] = share(&error.turns);
        let [unsolved, n_unsolved, unsolved_percent, _] = share(&error.unsolved);
        let intermediate = error.intermediate.to_string();
        let cells =
            [turns, n_turns, turns_percent, intermediate, unsolved, n_unsolved, unsolved_percent];
        row(&error.error, cells)
    });
    let header = header(
        "Error",
        &[
            "Failing turns",
            "n",
            "%",
            "Followed by a turn",
            "Last turn, unsolved",
            "n unsolved",
            "% of unsolved",
        ],
    );
    table("Errors, by first failing test of the turn", header, rows)
}

fn costs(costs: &Costs) -> Table {
    let of = |turns: usize| format!("{turns} turns");
    let line = |what: &str, sum: String, turns| row(what, [sum, of(turns)]);
    let mut rows = match costs.turns {
        0 => Vec::new(),
        turns => vec![
            line("input tokens", costs.prompt_tokens.to_string(), turns),
            line("input tokens, cached", costs.cached_tokens.to_string(), turns),
            line("output tokens", costs.completion_tokens.to_string(), turns),
            line(
                "reasoning tokens, reported by the server",
                costs.reasoning_tokens.to_string(),
                turns,
            ),
            line("API calls, including failed ones", costs.calls.to_string(), turns),
            line(
                "US dollars, turns with a known price",
                format!("{:.4}", costs.usd),
                costs.priced_turns,
            ),
        ],
    };
    if costs.drafted_tokens > 0 {
        let accepted = format!("{} of {}", costs.accepted_tokens, costs.drafted_tokens);
        rows.push(line("drafted tokens that were accepted", accepted, costs.turns));
    }
    table("Model usage", header("Usage", &["Total", "n"]), rows)
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
        rows.push(row("wall time, first start to last end", ["".into(), "".into(), seconds(wall)]));
    }
    table("Time in seconds", header("Time", &["Median", "p95", "Total"]), rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_text_of_one_line() {
        let check = |cell: &str, expected: [&str; 2]| {
            let drawn = table("Errors", header("Error", &["n"]), [row(cell, ["1".into()])]);
            let [terminal, file] = [render(&drawn, None), markdown(&drawn)];
            assert!(terminal.contains(&format!("│ {} ┆", expected[0])), "{terminal}");
            assert!(file.contains(&format!("| {} | 1 |", expected[1])), "{file}");
        };
        check("KeyError", ["KeyError"; 2]);
        check("A\u{1b}]52;c;eA==\u{7}B", ["A\\u001b]52;c;eA==\\u0007B"; 2]);
        check("a\nb\tc\rd\u{202e}", ["a b c\\u000dd\\u202e"; 2]);
        check(
            "a|b <0.1 <b>x</b> <!--",
            ["a|b <0.1 <b>x</b> <!--", "a\\|b <0.1 \\<b>x\\</b> \\<!--"],
        );
    }

    #[test]
    fn a_table_is_no_wider_than_its_terminal() {
        let evidence = "a student vs. its base model: +1.5 points (-0.2 to +3.2; 397)";
        let cells = ["not enough data", evidence, "+1.5 (-0.2–3.2)"].map(String::from);
        let rows = [row("LoRA students solve more than their base model", cells)];
        let table = table("Claims", header("Claim", &["Result", "Evidence", "Points"]), rows);
        let narrow = render(&table, Some(60));
        assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
        insta::assert_snapshot!(narrow);
        assert_eq!(render(&table, None), render(&table, Some(400)));
    }

    #[track_caller]
    fn check(cell: &str, expected: bool) {
        assert_eq!(is_number(cell), expected, "{cell}");
    }

    #[test]
    fn numbers_are_aligned_to_the_right() {
        for cell in ["", "—", "0", "5.2.1, 5.5", "+0.5 (-0.9 to +1.9)", "$1.20", "215 tasks"] {
            check(cell, true);
        }
        for cell in ["no-think", "not enough data", "-", "p < 0.05"] {
            check(cell, false);
        }
    }
}
