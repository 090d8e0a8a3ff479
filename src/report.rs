//! `fixfly report`: what recorded runs achieved.

mod cells;
mod claims;
mod compare;
mod costs;
#[cfg(test)]
mod fixture;
mod groups;
mod html;
pub(crate) mod labels;
mod measure;
mod measured;
mod print;
mod sheets;
mod tables;
mod truth;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use fixfly_runtime::{read_episodes, read_run};
use fixfly_train::Tokens;
use serde::Serialize;

use crate::failure::Usage;
use crate::terminal;
use claims::Tested;
use compare::Comparison;
use groups::{Checkpoint, Set};
use html::Page;
use labels::Labelled;
use measure::RunReport;
use measured::{Asked, RunMetrics};
use sheets::Table;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly report runs/retrieval
  fixfly report runs/oracle runs/retrieval --format markdown
  fixfly report runs/* --format json | jq '.runs[].solved.percent'
  fixfly report runs/a runs/b,dataset=v4 --compare
  fixfly report runs/base,model=Qwen3-8B,mode=think runs/v4,model=Qwen3-8B,method=lora,dataset=v4,rows=5300,mode=think --table 5.1,5.2,claims
  fixfly report sweep.toml --html report.html

Labels: model, method (base, lora, full), dataset, rows, rank, epoch, mode
(think, nothink), reasoning (the teacher), short, hybrid. Runs with the same
labels are repeats of one configuration. A TOML file describes a set of runs:
[[run]] with `path` and labels.

Infrastructure failures are reported apart and are in no denominator; a
model's own failures count as unsolved. Intervals are Wilson's, 95 %; where a
run has several samples of a task they are too narrow, as those are alike: read
the spread over samples instead.")]
pub(crate) struct Flags {
    /// Run directories, with labels or without, and files that describe sets of runs
    #[arg(required = true, value_name = "RUN[,KEY=VALUE...]|SET.toml")]
    runs: Vec<String>,

    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    #[arg(long, value_name = "TABLE", value_delimiter = ',', value_parser = table, help = tables_help())]
    table: Vec<String>,

    /// Compare two configurations, task by task
    #[arg(long)]
    compare: bool,

    /// Which checkpoint of a training stands in the tables
    #[arg(long, value_enum, default_value_t = Checkpoint::Validation)]
    checkpoint: Checkpoint,

    /// Write all tables, claims and plots as one page that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// The model's tokenizer.json, to count tokens of reasoning
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    /// Folder of the benchmark, if it is not where the runs found it
    #[arg(long, value_name = "DIR")]
    benchmark_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Tables for a terminal
    Table,
    /// Everything, with full precision
    Json,
    /// One value a line: run or table, table, row, column, value
    Csv,
    /// Tables for a document
    Markdown,
}

/// What each run is, by itself.
const RUNS: &str = "runs";
const CLAIMS: &str = "claims";
const ALL: &str = "all";
/// The table that needs the benchmark's own methods.
const CODE: &str = "5.5";

fn tables_help() -> String {
    let named = tables::ALL.iter().map(|entry| format!("\n- {}: {}", entry.name, entry.title));
    let tables: String = named.collect();
    format!(
        "Tables to print, instead of those that have a row; numbers are the thesis':\
         {tables}\n- {RUNS}: each run by itself\n- {CLAIMS}: the thesis' findings, tested\n- {ALL}: all of these"
    )
}

fn table(name: &str) -> Result<String, String> {
    let names = tables::ALL.iter().map(|entry| entry.name).chain([RUNS, CLAIMS, ALL]);
    match names.clone().any(|known| known == name) {
        true => Ok(name.into()),
        false => Err(format!(
            "there is no such table; there is: {}",
            names.collect::<Vec<_>>().join(", ")
        )),
    }
}

/// Everything that is said of some runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Report {
    runs: Vec<RunReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tables: Vec<Table>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    claims: Vec<Tested>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Comparison>,
    /// Tables that would be empty.
    #[serde(skip)]
    left_out: Vec<&'static str>,
}

pub(crate) fn report(flags: &Flags) -> anyhow::Result<()> {
    let runs = flags.runs.iter().map(|word| labels::runs(word)).collect::<Result<Vec<_>, _>>()?;
    let runs = runs.concat();
    if runs.is_empty() {
        return Err(Usage("no run was named: the file describes none".into()).into());
    }
    let (reports, measured) = measure(flags, &runs)?;
    let set = Set::of(&measured, flags.checkpoint);
    let report = said(flags, &set, reports)?;
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
    let asked = Asked {
        truth: flags.html.is_some() || (shows(flags, CODE) && !flags.compare),
        benchmark_dir: flags.benchmark_dir.as_deref(),
        tokens: tokens.as_ref(),
    };
    let mut both = (Vec::new(), Vec::new());
    for Labelled { path, labels } in runs {
        let name = path.display().to_string();
        let (record, episodes) = (read_run(path)?, read_episodes(path)?);
        both.0.push(RunReport::of(name.clone(), &record, &episodes));
        both.1.push(RunMetrics::of(name, labels.clone(), &record, &episodes, &asked));
    }
    Ok(both)
}

/// Whether a part is to be shown: as asked, else all.
fn shows(flags: &Flags, name: &str) -> bool {
    flags.table.is_empty() || flags.table.iter().any(|asked| asked == name || asked == ALL)
}

fn said(flags: &Flags, set: &Set<'_>, runs: Vec<RunReport>) -> anyhow::Result<Report> {
    if flags.compare {
        let comparison = Some(Comparison::of(set)?);
        return Ok(Report { comparison, ..Report::default() });
    }
    // Each run by itself is too much where a file describes many.
    let a_set = flags.runs.iter().any(|word| word.ends_with(".toml"));
    let runs_shown = if flags.table.is_empty() { !a_set } else { shows(flags, RUNS) };
    let (tables, left_out) = tables(flags, set, a_set);
    let claims = if shows(flags, CLAIMS) { claims::tested(set) } else { Vec::new() };
    let asked = !flags.table.is_empty() || a_set;
    Ok(Report {
        runs: if runs_shown { runs } else { Vec::new() },
        tables,
        claims: if asked { claims } else { Vec::new() },
        comparison: None,
        left_out,
    })
}

/// The tables asked for; those that have a row if none was, and for runs named
/// one by one only the thesis' own: each run by itself has the rest.
fn tables(flags: &Flags, set: &Set<'_>, a_set: bool) -> (Vec<Table>, Vec<&'static str>) {
    let (mut sheets, mut left_out) = (Vec::new(), Vec::new());
    let asked = !flags.table.is_empty();
    let named = |entry: &&tables::Entry| match asked {
        true => shows(flags, entry.name),
        false => a_set || entry.is_numbered(),
    };
    for entry in tables::ALL.iter().filter(named) {
        let sheet = entry.sheet(set);
        match sheet.rows.is_empty() && !asked {
            true => left_out.push(entry.name),
            false => sheets.push(sheet),
        }
    }
    (sheets, left_out)
}

fn write_page(file: &Path, flags: &Flags, set: &Set<'_>, runs: &[Labelled]) -> anyhow::Result<()> {
    let sheets: Vec<Table> = match flags.compare {
        true => Comparison::of(set)?.sheets(),
        false => tables::ALL.iter().map(|entry| entry.sheet(set)).collect(),
    };
    let named = set.groups.iter().flat_map(|group| {
        let said = |run: &&str| {
            format!("{run}: {}, {} ({})", group.labels.shown(), group.benchmark, group.split)
        };
        group.runs.iter().map(said)
    });
    let page = Page {
        made: format!("fixfly {}, {} runs", env!("CARGO_PKG_VERSION"), runs.len()),
        runs: named.collect(),
        claims: &claims::tested(set),
        sheets: &sheets,
    };
    let html = page.html(set)?;
    std::fs::write(file, html).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests;
