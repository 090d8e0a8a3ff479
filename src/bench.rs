//! `fixfly bench`: makes benchmarks, and proves that they hold.

mod build;
mod faults;
mod fetch;
mod mark;
mod verify;

use clap::{Args, Subcommand};

use fixfly_benchmarks::{Open, OpenFolder};
use fixfly_runtime::{Benchmark, BenchmarkError, Entry, Host, Observation, Task};
use fixfly_sandboxes::Pool;

use crate::failure::Usage;
use crate::terminal::Terminal;
pub(crate) use mark::reasons;

#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch or examine a project and write its benchmark directory
    #[command(subcommand)]
    Build(build::Command),
    /// Get a repository's mirror from GitHub, for the benchmark swebench
    FetchRepo(fetch::Flags),
    /// Find out which items a sandbox can serve that cannot serve all
    Mark(mark::Flags),
    /// Check that the original passes and a stub fails, on every item
    Verify(verify::Flags),
}

/// What a benchmark says of a candidate, in a sandbox opened for it.
async fn trial(
    pool: &Pool,
    benchmark: &dyn Benchmark,
    task: &Task,
    code: &str,
) -> Result<Observation, BenchmarkError> {
    let sandbox = pool.open(&task.sandbox).await?;
    let observed = benchmark.trial(task, code, &*sandbox).await;
    sandbox.close().await?;
    observed
}

/// A benchmark of methods, which a directory holds.
pub(crate) fn methods(entry: &Entry<Open>) -> Result<OpenFolder, Usage> {
    match entry.open {
        Open::Folder(open) => Ok(open),
        Open::Issues(_) => Err(Usage(format!(
            "`{}` is a benchmark of issues: its instances are checked by `fixfly grade {} --gold`",
            entry.name, entry.name
        ))),
    }
}

pub(crate) fn bench(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    match &flags.command {
        Command::Build(command) => build::build(command, terminal),
        Command::FetchRepo(flags) => fetch::fetch(flags, terminal),
        Command::Mark(flags) => mark::mark(flags, terminal),
        Command::Verify(flags) => verify::verify(flags, terminal),
    }
}
