//! `fixfly trajectory`: recorded work goes to other agents' readers, and comes
//! from them.

mod export;
mod import;

use clap::{Args, Subcommand};

use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly trajectory import trajectories/me/mini-run --instances lite.jsonl -o runs/theirs
  fixfly grade swebench --instances lite.jsonl --predictions runs/theirs/preds.json
  fixfly trajectory export runs/lite --form atif -o atif")]
pub(crate) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a run of what SWE-agent or mini-swe-agent recorded
    Import(import::Flags),
    /// Write a run's episodes as others read them
    Export(export::Flags),
}

pub(crate) fn trajectory(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    match &flags.command {
        Command::Import(flags) => import::import(flags, terminal),
        Command::Export(flags) => export::export(flags, terminal),
    }
}
