//! `fixfly report`: tables, claims and comparisons of recorded runs.

mod cells;
mod claims;
mod compare;
mod costs;
#[cfg(test)]
mod fixture;
mod groups;
mod html;
pub(crate) mod labels;
mod print;
mod run_metrics;
mod run_report;
mod run_tables;
mod tables;
mod truth;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use fixfly_datasets::Tokens;
use fixfly_runtime::{read_episodes, read_run};
use serde::Serialize;

use crate::config;
use crate::failure::Usage;
use crate::terminal;
use claims::ClaimTest;
use compare::Comparison;
use groups::{Checkpoint, RunSet};
use html::Page;
use labels::Labelled;
use run_metrics::{MetricsOptions, RunMetrics};
use run_report::RunReport;
use run_tables::Table;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly report runs/retrieval
  fixfly report runs/oracle runs/retrieval --format markdown
  fixfly report runs/* --format json | jq '.runs[].solved.percent'
  fixfly report runs/a runs/b,dataset=v4 --compare
  fixfly report runs/base,model=Qwen3-8B,mode=think runs/v4,model=Qwen3-8B,method=lora,dataset=v4,rows=5300,mode=think --table base-models,datasets,claims
  fixfly report sweep.toml --html report.html

Labels: model, method (base, lora, full), dataset, rows, rank, epoch, mode
(think, nothink), reasoning (the teacher), short, hybrid. Runs with the same
labels are repeats of one configuration. A TOML file describes a set of runs:
one [[run]] table for each, with `path` and labels.

Infrastructure failures are listed separately and excluded from every
denominator. Failures of the model count as unsolved. Intervals are 95 % Wilson
intervals. They are too narrow for runs with several samples of a task, because
these samples are not independent: use the spread over samples instead.")]
pub(crate) struct Flags {
    /// Run directories, optionally with labels, or TOML files that describe sets of runs
    #[arg(required = true, value_name = "RUN[,KEY=VALUE...]|SET.toml")]
    runs: Vec<String>,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    #[arg(long, value_name = "TABLE", value_delimiter = ',', value_parser = table, help = tables_help())]
    table: Vec<String>,

    /// Compare two configurations task by task
    #[arg(long)]
    compare: bool,

    /// Checkpoint that represents a training run in the tables
    #[arg(long, value_enum, default_value_t = Checkpoint::Validation)]
    checkpoint: Checkpoint,

    /// Write all tables, claims and plots to a self-contained HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// tokenizer.json of the model, used to count reasoning tokens
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    /// Directory of the benchmark, if it has moved since the runs
    #[arg(long, value_name = "DIR")]
    benchmark_dir: Option<PathBuf>,
}

impl Flags {
    /// The report of a set of runs, also written as a page. `tables`: all if empty.
    pub(crate) fn of_set(set: &Path, page: &Path, tables: &[String]) -> Result<Flags, Usage> {
        let mut flags = toml::Table::new();
        flags.insert("runs".into(), vec![set.display().to_string()].into());
        flags.insert("html".into(), page.display().to_string().into());
        if !tables.is_empty() {
            flags.insert("table".into(), tables.to_vec().into());
        }
        config::flags("report", &flags)
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Tables for the terminal
    Table,
    /// All values at full precision
    Json,
    /// One value per line: run, table, row, column, value
    Csv,
    /// Markdown tables
    Markdown,
}

/// The tables of each run.
const RUNS: &str = "runs";
const CLAIMS: &str = "claims";
const ALL: &str = "all";
/// The table that compares with the benchmark's reference methods.
const CODE: &str = "code-scores";

fn tables_help() -> String {
    let line = |entry: &tables::Entry| format!("\n- {}: {}", entry.name, entry.full_title());
    let tables: String = tables::ALL.iter().map(line).collect();
    format!(
        "Tables to print [default: all non-empty tables]. The number of a table in the paper \
         works as its name, too:\n- {RUNS}: The tables of each run{tables}\n- {CLAIMS}: The \
         findings of the paper, tested on these runs\n- {ALL}: All of these"
    )
}

/// Parses the name or the number of a table.
fn table(name: &str) -> Result<String, String> {
    if let Some(entry) = tables::ALL.iter().find(|entry| entry.number == Some(name)) {
        return Ok(entry.name.into());
    }
    let names = tables::ALL.iter().map(|entry| entry.name).chain([RUNS, CLAIMS, ALL]);
    match names.clone().any(|known| known == name) {
        true => Ok(name.into()),
        false => Err(format!(
            "unknown table; available tables: {}",
            names.collect::<Vec<_>>().join(", ")
        )),
    }
}

/// All parts of a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Report {
    runs: Vec<RunReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tables: Vec<Table>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    claims: Vec<ClaimTest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Comparison>,
    /// Names of empty tables.
    #[serde(skip)]
    left_out: Vec<&'static str>,
}

pub(crate) fn report(flags: &Flags) -> anyhow::Result<()> {
    let runs = flags.runs.iter().map(|word| labels::runs(word)).collect::<Result<Vec<_>, _>>()?;
    let runs = runs.concat();
    if runs.is_empty() {
        return Err(Usage("no runs to report: the TOML file contains no [[run]]".into()).into());
    }
    let (reports, measured) = measure(flags, &runs)?;
    let set = RunSet::of(&measured, flags.checkpoint);
    let report = assemble(flags, &set, reports)?;
    if let Some(file) = &flags.html {
        write_page(file, flags, &set, &runs)?;
    }
    terminal::print(&print::format(&report, flags.format, terminal::columns())?)
}

/// Prints the tables of one run.
pub(crate) fn summary(run: &Path) -> anyhow::Result<()> {
    let (record, episodes) = (read_run(run)?, read_episodes(run)?);
    let runs = vec![RunReport::of(run.display().to_string(), &record, &episodes)];
    let report = Report { runs, ..Report::default() };
    terminal::print(&print::format(&report, Format::Table, terminal::columns())?)
}

fn measure(flags: &Flags, runs: &[Labelled]) -> anyhow::Result<(Vec<RunReport>, Vec<RunMetrics>)> {
    let tokens = flags.tokenizer.as_deref().map(|file| Tokens::open(Some(file))).transpose()?;
    let options = MetricsOptions {
        truth: flags.html.is_some() || (shows(flags, CODE) && !flags.compare),
        benchmark_dir: flags.benchmark_dir.as_deref(),
        tokens: tokens.as_ref(),
    };
    let mut both = (Vec::new(), Vec::new());
    for Labelled { path, labels } in runs {
        let name = path.display().to_string();
        let (record, episodes) = (read_run(path)?, read_episodes(path)?);
        both.0.push(RunReport::of(name.clone(), &record, &episodes));
        both.1.push(RunMetrics::of(name, labels.clone(), &record, &episodes, &options));
    }
    Ok(both)
}

/// Whether `--table` selects a part. Without `--table`, all parts are selected.
fn shows(flags: &Flags, name: &str) -> bool {
    flags.table.is_empty() || flags.table.iter().any(|asked| asked == name || asked == ALL)
}

fn assemble(flags: &Flags, set: &RunSet<'_>, runs: Vec<RunReport>) -> anyhow::Result<Report> {
    if flags.compare {
        let comparison = Some(Comparison::of(set)?);
        return Ok(Report { comparison, ..Report::default() });
    }
    // A TOML file can describe many runs: omit the tables of each one.
    let a_set = flags.runs.iter().any(|word| word.ends_with(".toml"));
    let runs_shown = if flags.table.is_empty() { !a_set } else { shows(flags, RUNS) };
    let (tables, left_out) = tables(flags, set, a_set);
    let claims = if shows(flags, CLAIMS) { claims::test_all(set) } else { Vec::new() };
    let asked = !flags.table.is_empty() || a_set;
    Ok(Report {
        runs: if runs_shown { runs } else { Vec::new() },
        tables,
        claims: if asked { claims } else { Vec::new() },
        comparison: None,
        left_out,
    })
}

/// The selected tables. Without `--table`: all non-empty tables of a TOML file,
/// or the non-empty tables of the paper for run directories, whose own tables
/// contain the rest.
fn tables(flags: &Flags, set: &RunSet<'_>, a_set: bool) -> (Vec<Table>, Vec<&'static str>) {
    let (mut tables, mut left_out) = (Vec::new(), Vec::new());
    let asked = !flags.table.is_empty();
    let named = |entry: &&tables::Entry| match asked {
        true => shows(flags, entry.name),
        false => a_set || entry.number.is_some(),
    };
    for entry in tables::ALL.iter().filter(named) {
        let table = entry.table(set);
        match table.rows.is_empty() && !asked {
            true => left_out.push(entry.name),
            false => tables.push(table),
        }
    }
    (tables, left_out)
}

fn write_page(
    file: &Path,
    flags: &Flags,
    set: &RunSet<'_>,
    runs: &[Labelled],
) -> anyhow::Result<()> {
    let tables: Vec<Table> = match flags.compare {
        true => Comparison::of(set)?.tables(),
        false => tables::ALL.iter().map(|entry| entry.table(set)).collect(),
    };
    let named = set.groups.iter().flat_map(|group| {
        let line = |run: &&str| {
            format!("{run}: {}, {} ({})", group.labels.shown(), group.benchmark, group.split)
        };
        group.runs.iter().map(line)
    });
    let page = Page {
        made: format!("fixfly {}, {} runs", env!("CARGO_PKG_VERSION"), runs.len()),
        runs: named.collect(),
        claims: &claims::test_all(set),
        tables: &tables,
    };
    let html = page.html(set)?;
    std::fs::write(file, html).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests;
