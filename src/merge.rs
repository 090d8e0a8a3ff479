//! `fixfly merge-runs`: merges run directories into one.

use std::path::PathBuf;

use clap::Args;
use fixfly_runtime::merge_runs;

use crate::run::issues::write_predictions;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly merge-runs runs/shard-1 runs/shard-2 runs/shard-3 -o runs/all
  fixfly merge-runs runs/shard-* -o runs/all

The runs may differ in the shard, the folder and the machine only. Their order does
not matter, and they are left as they are. If a shard is missing, run the command of
the shards again without --shard and with the merged folder: it runs what is left.")]
pub(crate) struct Flags {
    /// Run directories: shards of one run, or merged runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,

    /// Run directory to write: a new or an empty folder
    #[arg(short, long, value_name = "RUN")]
    output: PathBuf,
}

pub(crate) fn merge(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let doing = terminal.doing("merging the runs");
    let merged = merge_runs(&flags.runs, &flags.output, fixfly_policies::join_journals);
    doing.finish_and_clear();
    let merged = merged?;
    if flags.runs.iter().any(|run| run.join("preds.json").exists()) {
        write_predictions(&flags.output, &flags.output, &merged.record.model_or_policy())?;
    }
    terminal.print(&merged.to_string())
}
