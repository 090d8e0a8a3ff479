//! `fixfly reason`: reasoning traces for the rows of a dataset.

mod compress;
mod elicit;
mod teacher;

use clap::{Args, Subcommand};

use crate::terminal::Terminal;

#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask a teacher for the reasoning behind each answer of a dataset
    Elicit(Box<elicit::Flags>),
    /// Ask a teacher to shorten traces to a maximum number of tokens
    Compress(Box<compress::Flags>),
}

pub(crate) fn reason(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    match &flags.command {
        Command::Elicit(flags) => elicit::elicit(flags, terminal),
        Command::Compress(flags) => compress::compress(flags, terminal),
    }
}
