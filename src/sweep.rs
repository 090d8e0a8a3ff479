//! `fixfly sweep`: datasets × methods × ranks × seeds × checkpoints × modes × repeats,
//! trained, run and tabulated. Each stage is a command of fixfly, run in this process;
//! its output is stored under a name that contains the hash of its inputs.

mod file;
mod stages;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::{Args, FromArgMatches as _};
#[cfg(feature = "train")]
use fixfly_policies::models::resolve;
use fixfly_report::set_text;
use fixfly_students::sweep::{Sweep, SweepError};

use crate::built::{Feature, require};
use crate::failure::{Interrupted, Usage};
use crate::report;
use crate::terminal::Terminal;
use crate::train::interrupt;
use stages::Stages;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly sweep benchmarks/experiments/table-5.2.toml -o sweeps/5.2
  fixfly sweep benchmarks/experiments/table-5.2.toml --smoke-test -o sweeps/tiny
  fixfly sweep benchmarks/experiments/closed-loop.toml -o sweeps/closed-loop
  fixfly sweep mine.toml -o sweeps/mine
  fixfly report sweeps/mine/runs.toml --html report.html

Run the same command again to resume after Ctrl-C or kill -9; finished stages are not
repeated. Sweeps in one folder share their common stages and run one at a time. docs/training.md
documents the file format.")]
pub(crate) struct Flags {
    /// TOML file of the sweep; its paths are relative to its folder
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Output folder
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Run every stage at a tiny scale, with random models, the retrieval policy as
    /// teacher, a few tasks and two epochs, to check that the sweep works
    #[arg(long)]
    smoke_test: bool,

    /// Run one stage alone, by the name of its output in the folder; `fixfly cluster` does
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
}

/// The sweep of these flags, checked.
fn opened(flags: &Flags, file: &Path) -> anyhow::Result<Sweep> {
    let sweep = Sweep::open(file).map_err(Usage)?;
    let sweep = if flags.smoke_test { sweep.reduced() } else { sweep };
    file::check(&sweep)?;
    Ok(sweep)
}

/// The stages of a sweep that can run now, each beside the others. `words` are those of its
/// command, and `folder` is where they are given.
pub(crate) fn ready(
    words: &[String],
    commands: &clap::Command,
    folder: &Path,
    terminal: &Terminal,
) -> anyhow::Result<Vec<String>> {
    let words = std::iter::once("fixfly").chain(words.iter().map(String::as_str));
    let given = commands.clone().try_get_matches_from(words)?;
    let (_, given) = given.subcommand().context("the words name no command")?;
    let flags = Flags::from_arg_matches(given)?;
    let sweep = opened(&flags, &folder.join(&flags.file))?;
    let stop = Arc::new(AtomicBool::new(false));
    let stages = Stages { stop, terminal: terminal.without_results() };
    sweep.ready(&folder.join(&flags.output), flags.smoke_test, &stages).map_err(concluded)
}

pub(crate) fn sweep(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let sweep = opened(flags, &flags.file)?;
    require(&[Feature::Train, Feature::Llama])?;
    #[cfg(feature = "train")]
    for base in sweep.model.iter().filter_map(|model| model.base.as_ref()) {
        let base = resolve(base)?;
        for method in sweep.methods.iter().filter(|_| !sweep.dataset.is_empty()) {
            fixfly_students::check_base(&base, *method).map_err(|why| Usage(why.to_string()))?;
        }
    }
    let stop = interrupt::listen(terminal)?;
    let stages = Stages { stop, terminal: terminal.without_results() };
    if let Some(name) = &flags.stage {
        let done = sweep.execute_one(name, &flags.output, flags.smoke_test, &stages);
        return done.map_err(concluded);
    }
    let runs = sweep.execute(&flags.output, flags.smoke_test, &stages).map_err(concluded)?;
    let set = flags.output.join("runs.toml");
    std::fs::write(&set, set_text(&runs)?)
        .with_context(|| format!("cannot write {}", set.display()))?;
    let page = flags.output.join("report.html");
    report::report(&report::Flags::of_set(&set, &page, &sweep.tables)?)
}

/// The error with which this program ends.
fn concluded(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<SweepError>() {
        Ok(stopped @ SweepError::Stopped) => Interrupted(stopped.to_string()).into(),
        Ok(SweepError::Usage(why)) => Usage(why).into(),
        Ok(error) => error.into(),
        Err(error) => error,
    }
}
