//! `fixfly report`: tables, claims and comparisons of recorded runs.

mod inputs;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use fixfly_datasets::Tokens;
use fixfly_report::{
    ALL, CLAIMS, Inputs, Labelled, Part, RUNS, Report, ReportError, Runs, Selection, brief,
    labelled_runs, page, tables,
};
use fixfly_runtime::{JoinedRecording, Recording, join_shards, read_run};

use crate::config;
use crate::failure::Usage;
use crate::terminal;
use inputs::{Benchmarks, retained};

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
(think, nothink), reasoning (the teacher), short, hybrid, control. Runs with the same
labels are repeats of one configuration; shards of one run are one run. A TOML file describes a set of runs:
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

    #[arg(long, value_name = "TABLE", value_delimiter = ',', help = tables_help())]
    table: Vec<Part>,

    /// Compare two configurations task by task
    #[arg(long)]
    compare: bool,

    /// Checkpoint that represents a training run in the tables
    #[arg(long, value_enum, default_value_t = Checkpoint::Validation)]
    checkpoint: Checkpoint,

    /// Write all tables, claims and plots to a self-contained HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// tokenizer.json or GGUF file of the model, used to count reasoning tokens
    #[arg(long, value_name = "FILE", value_parser = crate::model::file)]
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
enum Format {
    /// Tables for the terminal
    Table,
    /// All values at full precision
    Json,
    /// One value per line: run, table, row, column, value
    Csv,
    /// Markdown tables
    Markdown,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Checkpoint {
    /// Best on the validation split; the last if there are no validation runs
    Validation,
    /// Last
    Last,
    /// Best on the benchmark itself, as in the paper; biased upwards
    Best,
}

impl From<Format> for fixfly_report::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Table => Self::Table,
            Format::Json => Self::Json,
            Format::Csv => Self::Csv,
            Format::Markdown => Self::Markdown,
        }
    }
}

impl From<Checkpoint> for fixfly_report::Checkpoint {
    fn from(checkpoint: Checkpoint) -> Self {
        match checkpoint {
            Checkpoint::Validation => Self::Validation,
            Checkpoint::Last => Self::Last,
            Checkpoint::Best => Self::Best,
        }
    }
}

fn tables_help() -> String {
    let tables: String = tables().map(|(name, title)| format!("\n- {name}: {title}")).collect();
    format!(
        "Tables to print [default: all non-empty tables]. The number of a table in the paper \
         works as its name, too:\n- {RUNS}: The tables of each run{tables}\n- {CLAIMS}: The \
         findings of the paper, tested on these runs\n- {ALL}: All of these"
    )
}

pub(crate) fn report(flags: &Flags) -> anyhow::Result<()> {
    let selection = Selection {
        parts: flags.table.clone(),
        compare: flags.compare,
        checkpoint: flags.checkpoint.into(),
        from_file: flags.runs.iter().any(|word| word.ends_with(".toml")),
    };
    let runs = labelled_runs(&flags.runs).map_err(failure)?;
    let runs = measured(flags, &selection, &runs)?;
    let report = Report::of(&runs, &selection).map_err(failure)?;
    if let Some(file) = &flags.html {
        let html = page(&runs, &selection).map_err(failure)?;
        std::fs::write(file, html).with_context(|| format!("cannot write {}", file.display()))?;
    }
    print(&report, flags.format)
}

/// Prints the results of a run in brief, and what to type next.
pub(crate) fn summary(run: &Path) -> anyhow::Result<()> {
    let (record, episodes) = (read_run(run)?, Recording::open(run)?);
    let name = run.display();
    let brief = brief(name.to_string(), &record, episodes.summaries(), terminal::columns());
    terminal::print(&format!("{brief}\nNext: fixfly report {name}\n"))
}

fn print(report: &Report, format: Format) -> anyhow::Result<()> {
    terminal::print(&report.text(format.into(), terminal::columns()).map_err(failure)?)
}

/// Reads the runs, one at a time.
fn measured(flags: &Flags, selection: &Selection, runs: &[Labelled]) -> anyhow::Result<Runs> {
    let tokens = flags.tokenizer.as_deref().map(|file| Tokens::open(Some(file))).transpose()?;
    let count = tokens.as_ref().map(|tokens| move |text: &str| tokens.of(text));
    let runs =
        runs.iter().map(|run| Ok((run.labels.clone(), run.path.clone(), read_run(&run.path)?)));
    let runs = join_shards(runs.collect::<anyhow::Result<_>>()?)?;
    let inputs = Inputs {
        reference: &Benchmarks { folder: flags.benchmark_dir.as_deref() },
        truth: flags.html.is_some() || selection.needs_references(),
        texts: selection.needs_texts(&runs, flags.html.is_some()),
        tokens: count.as_ref().map(|count| count as _),
        retained: &retained,
    };
    let mut measured = Runs::default();
    for (labels, run) in runs {
        measured.add(&labels, &run, &JoinedRecording::open(&run)?, &inputs)?;
    }
    Ok(measured)
}

fn failure(error: ReportError) -> anyhow::Error {
    match error.is_usage() {
        true => Usage(error.to_string()).into(),
        false => error.into(),
    }
}
