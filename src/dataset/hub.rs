//! `fixfly dataset hub`.

use std::path::PathBuf;

use clap::Args;
use fixfly_datasets::{Dataset, Hub};

use super::Folder;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly dataset hub datasets/v4 -o hub/v4 --license bsd-3-clause
  hf upload me/v4 hub/v4 --repo-type dataset

Nothing is sent anywhere: the second command, of the hub's own program, does that.")]
pub(crate) struct Flags {
    #[command(flatten)]
    folder: Folder,

    /// Folder to write
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// The hub's identifier of the dataset's licence [default: unknown]
    #[arg(long, value_name = "ID")]
    license: Option<String>,
}

pub(crate) fn hub(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let dataset = Dataset::open(&flags.folder.dataset)?;
    let Hub { rows, files } = dataset.write_hub(&flags.output, flags.license.as_deref())?;
    let (files, out) = (files.len(), flags.output.display());
    terminal.status(&format!("wrote {rows} rows in {files} Parquet files and a card to {out}"));
    Ok(())
}
