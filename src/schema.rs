//! `fixfly schema`: JSON Schemas of the files that fixfly writes.

use clap::{Args, ValueEnum};
use fixfly_runtime::{Episode, RunRecord};

use crate::terminal::print;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly schema episode > episode.schema.json
  fixfly schema run")]
pub(crate) struct Flags {
    /// File to describe
    #[arg(value_enum)]
    file: File,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum File {
    /// A line of episodes.jsonl
    Episode,
    /// run.json
    Run,
}

pub(crate) fn schema(flags: &Flags) -> anyhow::Result<()> {
    let schema = match flags.file {
        File::Episode => schemars::schema_for!(Episode),
        File::Run => schemars::schema_for!(RunRecord),
    };
    print(&format!("{}\n", serde_json::to_string_pretty(&schema)?))
}
