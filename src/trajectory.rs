//! `fixfly trajectory`: exchanges recorded episodes with other agents.

mod export;
mod import;

use clap::{Args, Subcommand};

use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly trajectory import trajectories/me/mini-run --instances lite.jsonl -o runs/theirs
  fixfly grade swebench --instances lite.jsonl --predictions runs/theirs/preds.json
  fixfly trajectory export runs/lite --format atif -o atif")]
pub(crate) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Import trajectories of other agents as a run
    Import(import::Flags),
    /// Export a run's episodes in another format
    Export(export::Flags),
}

pub(crate) fn trajectory(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    match &flags.command {
        Command::Import(flags) => import::import(flags, terminal),
        Command::Export(flags) => export::export(flags, terminal),
    }
}
