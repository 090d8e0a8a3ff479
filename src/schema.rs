//! `fixfly schema`: JSON Schemas of the files that fixfly writes.

use clap::{Args, ValueEnum};
use fixfly_runtime::{Episode, JudgeLine, RunRecord};

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
    /// A line that `fixfly judge` reads or writes
    Judge,
}

pub(crate) fn schema(flags: &Flags) -> anyhow::Result<()> {
    let schema = match flags.file {
        File::Episode => schemars::schema_for!(Episode),
        File::Run => schemars::schema_for!(RunRecord),
        File::Judge => schemars::schema_for!(JudgeLine),
    };
    print(&format!("{}\n", serde_json::to_string_pretty(&schema)?))
}
