//! Output formats of a report.

use std::fmt::Write as _;
use std::io;

use fixfly_runtime::{EpisodeSummary, RunRecord};

use super::claims;
use super::error::ReportError;
use super::inputs::Retained;
use super::report::Report;
use super::run_report::RunReport;
use super::run_tables::{self, Table};

/// Output format.
#[derive(Clone, Copy, Debug)]
pub enum Format {
    /// Tables for the terminal.
    Table,
    /// All values at full precision.
    Json,
    /// One value per line: run, table, row, column, value.
    Csv,
    /// Markdown tables.
    Markdown,
}

impl Report {
    /// The report as text. `columns`: width of the terminal.
    ///
    /// # Errors
    /// [`ReportError`] if the values cannot be written in this format.
    pub fn text(&self, format: Format, columns: Option<u16>) -> Result<String, ReportError> {
        match format {
            Format::Json => Ok(format!("{}\n", serde_json::to_string_pretty(self)?)),
            Format::Csv => csv(self),
            Format::Table => Ok(document(self, "", |table| run_tables::render(table, columns))),
            Format::Markdown => Ok(document(self, "## ", run_tables::markdown)),
        }
    }
}

/// The tables that cover all runs.
pub(crate) fn shared_tables(report: &Report) -> Vec<Table> {
    let mut all = report.tables.clone();
    if !report.claims.is_empty() {
        all.push(claims::table(&report.claims));
    }
    all.extend(report.comparison.iter().flat_map(|comparison| comparison.tables()));
    all
}

fn document(report: &Report, heading: &str, draw: impl Fn(&Table) -> String) -> String {
    let mut text = String::new();
    for run in &report.runs {
        gap(&mut text);
        let _ = writeln!(text, "{heading}{}\n\n{}", run.run, caption(run));
        for table in run_tables::tables(run) {
            let _ = writeln!(text, "\n{}:\n\n{}", table.title, draw(&table));
        }
    }
    for table in shared_tables(report) {
        gap(&mut text);
        let _ = writeln!(text, "{heading}{}", table.title);
        if !table.rows.is_empty() {
            let _ = writeln!(text, "\n{}", draw(&table));
        }
        for note in &table.notes {
            let _ = writeln!(text, "\n{note}");
        }
    }
    if let Some(first) = report.left_out.first() {
        gap(&mut text);
        let all = report.left_out.join(", ");
        let _ =
            writeln!(text, "Empty tables: {all}. `--table {first}` shows which runs it requires.");
    }
    text
}

/// The results of one run in brief, as `fixfly run` prints them: how many tasks were
/// solved by which turn. `columns`: width of the terminal.
pub fn brief(
    run: String,
    record: &RunRecord,
    episodes: &[EpisodeSummary],
    columns: Option<u16>,
) -> String {
    let run = RunReport::of(run, record, episodes, &|_| Retained::Nothing);
    let table = run_tables::render(&run_tables::turns(&run), columns);
    format!("{}\n\n{table}\n", caption(&run))
}

fn gap(text: &mut String) {
    if !text.is_empty() {
        text.push('\n');
    }
}

fn caption(run: &RunReport) -> String {
    let failures = match run.infrastructure_failures {
        0 => String::new(),
        n => format!("; {n} more infrastructure failures, excluded from all numbers"),
    };
    let shards = run.shards.as_ref().map_or(String::new(), |shards| format!(", {shards}"));
    let unjudged = match run.unjudged {
        0 => String::new(),
        n => format!(
            "; {n} with an ungraded patch, excluded from the solve rates \
             (grade them with `fixfly grade swebench --predictions {}/preds.json`)",
            run.run
        ),
    };
    format!(
        "{} episodes on {} tasks of {} ({}), policy {}, seed {}, fixfly {}{shards}{failures}{unjudged}",
        run.episodes, run.tasks, run.benchmark, run.split, run.policy, run.seed, run.fixfly
    )
}

fn csv(report: &Report) -> Result<String, ReportError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["run", "table", "row", "column", "value"])?;
    for run in &report.runs {
        let failures = run.infrastructure_failures.to_string();
        writer.write_record([
            &run.run,
            "Overall",
            "infrastructure failures",
            "Count",
            &failures,
        ])?;
        for table in run_tables::tables(run) {
            values(&mut writer, &run.run, &table)?;
        }
    }
    for table in shared_tables(report) {
        values(&mut writer, "", &table)?;
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8(bytes).map_err(|error| csv::Error::from(io::Error::other(error)))?)
}

fn values(writer: &mut csv::Writer<Vec<u8>>, run: &str, table: &Table) -> csv::Result<()> {
    for row in &table.rows {
        for (column, value) in table.header.iter().zip(row).skip(1) {
            writer.write_record([run, &table.title, &row[0], column, value])?;
        }
    }
    Ok(())
}
