//! `fixfly compress`: the episodes of a run as zstd frames, or as plain lines again.

use std::path::PathBuf;

use clap::Args;
use fixfly_runtime::{Packing, compress_run, decompress_run, set_damaged_aside, thousands};

use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly compress runs/first
  zstdcat runs/first/episodes.jsonl.zst | jq .task.id
  fixfly compress runs/first --decompress

Every command reads compressed runs. A run that is resumed goes on compressed.")]
pub(crate) struct Flags {
    /// Run directories that no process writes to
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,

    /// Write all episodes to episodes.jsonl again
    #[arg(long)]
    decompress: bool,

    /// Move frames that cannot be read to episodes.torn-N.jsonl.zst; resuming the run records
    /// their episodes again
    #[arg(long, conflicts_with = "decompress")]
    set_aside: bool,
}

pub(crate) fn compress(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    for run in &flags.runs {
        let name = run.display();
        if flags.set_aside {
            let line = match set_damaged_aside(run)? {
                None => format!("{name}: all frames can be read"),
                Some((parts, file)) => format!(
                    "{name}: damaged frames: {parts}, moved to {}; run the run's own command again to record their episodes",
                    file.display()
                ),
            };
            terminal.print(&(line + "\n"))?;
            continue;
        }
        let Packing { lines, text, stored } = match flags.decompress {
            true => decompress_run(run)?,
            false => compress_run(run)?,
        };
        let size = match stored < text {
            true => format!("{} bytes, {} uncompressed", thousands(stored), thousands(text)),
            false => format!("{} bytes", thousands(stored)),
        };
        terminal.print(&format!("{name}: {} episodes in {size}\n", thousands(lines as u64)))?;
    }
    Ok(())
}
