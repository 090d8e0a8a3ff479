//! `fixfly report`: what recorded runs achieved.

mod costs;
mod measure;
mod sheets;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use fixfly_runtime::{read_episodes, read_run};
use serde::Serialize;

use crate::terminal::print;
use measure::RunReport;
use sheets::{Sheet, sheets};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly report runs/retrieval
  fixfly report runs/oracle runs/retrieval --format markdown
  fixfly report runs/* --format json | jq '.runs[].solved.percent'

Infrastructure failures are reported apart and are in no denominator; a
model's own failures count as unsolved. Intervals are Wilson's, 95 %; where a
run has several samples of a task they are too narrow, as those are alike: read
the spread over samples instead.")]
pub(crate) struct Flags {
    /// Run directories
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,

    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Tables for a terminal
    Table,
    /// Everything, with full precision
    Json,
    /// One value a line: run, table, row, column, value
    Csv,
    /// Tables for a document
    Markdown,
}

/// Everything that is said of some runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Report {
    runs: Vec<RunReport>,
}

pub(crate) fn report(flags: &Flags) -> anyhow::Result<()> {
    let runs = flags.runs.iter().map(|run| measure(run)).collect::<Result<_, _>>()?;
    print(&format(&Report { runs }, flags.format)?)
}

/// Prints the tables of one run.
pub(crate) fn summary(run: &Path) -> anyhow::Result<()> {
    print(&format(&Report { runs: vec![measure(run)?] }, Format::Table)?)
}

fn measure(run: &Path) -> anyhow::Result<RunReport> {
    let record = read_run(run)?;
    let episodes = read_episodes(run)?;
    Ok(RunReport::of(run.display().to_string(), &record, &episodes))
}

fn format(report: &Report, format: Format) -> anyhow::Result<String> {
    match format {
        Format::Json => Ok(format!("{}\n", serde_json::to_string_pretty(report)?)),
        Format::Csv => csv(report),
        Format::Table => Ok(document(report, "", sheets::table)),
        Format::Markdown => Ok(document(report, "## ", sheets::markdown)),
    }
}

fn document(report: &Report, heading: &str, draw: fn(&Sheet) -> String) -> String {
    let mut text = String::new();
    for (number, run) in report.runs.iter().enumerate() {
        let gap = if number == 0 { "" } else { "\n" };
        let _ = writeln!(text, "{gap}{heading}{}\n\n{}", run.run, caption(run));
        for sheet in sheets(run) {
            let _ = writeln!(text, "\n{}:\n\n{}", sheet.title, draw(&sheet));
        }
    }
    text
}

fn caption(run: &RunReport) -> String {
    let failures = match run.infrastructure_failures {
        0 => String::new(),
        n => format!("; {n} more failed for reasons outside the policy and are in no number"),
    };
    format!(
        "{} episodes on {} tasks of {} ({}), policy {}, seed {}, fixfly {}{failures}",
        run.episodes, run.tasks, run.benchmark, run.split, run.policy, run.seed, run.fixfly
    )
}

fn csv(report: &Report) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["run", "table", "row", "column", "value"])?;
    for run in &report.runs {
        let failures = run.infrastructure_failures.to_string();
        writer.write_record([&run.run, "overall", "infrastructure failed", "count", &failures])?;
        for sheet in sheets(run) {
            for row in &sheet.rows {
                for (column, value) in sheet.header.iter().zip(row).skip(1) {
                    writer.write_record([&run.run, sheet.title, &row[0], column, value])?;
                }
            }
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

#[cfg(test)]
mod tests;
