//! `fixfly bench`: makes benchmarks, and proves that they hold.

mod build;
mod mark;
mod verify;

use clap::{Args, Subcommand};

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
    /// Find out which items a sandbox can serve that cannot serve all
    Mark(mark::Flags),
    /// Check that the original passes and a stub fails, on every item
    Verify(verify::Flags),
}

pub(crate) fn bench(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    match &flags.command {
        Command::Build(command) => build::build(command, terminal),
        Command::Mark(flags) => mark::mark(flags, terminal),
        Command::Verify(flags) => verify::verify(flags, terminal),
    }
}
