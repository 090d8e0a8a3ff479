//! `fixfly bench`: makes benchmarks, and proves that they hold.

mod build;
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
    /// Fetch or examine a project and write its benchmark directory
    #[command(subcommand)]
    Build(build::Command),
    /// Check that the original passes and a stub fails, on every item
    Verify(verify::Flags),
}

pub(crate) fn bench(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    match &flags.command {
        Command::Build(command) => build::build(command, terminal),
        Command::Verify(flags) => verify::verify(flags, terminal),
    }
}
