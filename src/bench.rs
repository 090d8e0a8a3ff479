//! `fixfly bench`: builds and verifies benchmarks.

pub(crate) mod build;
mod faults;
mod fetch;
mod import;
mod probe;
mod verify;

use clap::{Args, Subcommand};

use crate::terminal::Terminal;

#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a benchmark directory from a project
    #[command(subcommand)]
    Build(build::Command),
    /// Mirror a GitHub repository for the swebench benchmark
    FetchRepo(fetch::Flags),
    /// Make a benchmark of a published set of faulty programs
    Import(import::Flags),
    /// Find out which items a sandbox with partial support can run
    Probe(probe::Flags),
    /// Check that, for every item, the original passes and a stub fails
    Verify(verify::Flags),
}

/// What to do with a benchmark of issues, where one of methods is asked for.
pub(crate) const INSTEAD: &str = "check its instances with `fixfly grade swebench --gold`";

pub(crate) fn bench(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    match &flags.command {
        Command::Build(command) => build::build(command, terminal),
        Command::FetchRepo(flags) => fetch::fetch(flags, terminal),
        Command::Import(flags) => import::import(flags, terminal),
        Command::Probe(flags) => probe::probe(flags, terminal),
        Command::Verify(flags) => verify::verify(flags, terminal),
    }
}
