//! `fixfly bench import`: a benchmark of a published set of faulty programs.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, value_parser};
use fixfly_benchmarks::import::Import;
use fixfly_runtime::Split;
use fixfly_sandboxes::Pool;

use crate::failure::Interrupted;
use crate::flags::{cpus, host, split};
use crate::terminal::Terminal;
use crate::threads::on_threads;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly bench import humanevalpack.jsonl -o benchmarks/humanevalfix
  fixfly bench import QuixBugs -o benchmarks/quixbugs
  fixfly run faults --benchmark-dir benchmarks/quixbugs --policy oracle -o runs/oracle

Two formats are known: HumanEvalFix (the columns of HumanEvalPack, as JSON lines or
Parquet) and QuixBugs (its folder). Each program becomes a task: a function to fix,
judged by the set's own tests. A program whose correct version fails its tests, or
whose faulty version passes them, is left out; DIR/left-out.jsonl says why.")]
pub(crate) struct Flags {
    /// The set: a file or a folder
    #[arg(value_name = "FILE|FOLDER")]
    set: PathBuf,

    /// Benchmark directory to write
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Split of all tasks: train, validation or benchmark
    #[arg(long, default_value = "benchmark", value_parser = split)]
    split: Split,

    /// Number of sandboxes to use in parallel [default: number of CPUs]
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
}

pub(crate) fn import(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let import = Import::open(&flags.set, &flags.output, flags.split)?;
    terminal.status("creating the Python environment");
    import.environment()?;
    let style = "programs {wide_bar} {pos}/{len}  {elapsed} elapsed, ETA {eta}";
    let bar = terminal.bar(style, import.programs())?;
    let jobs = cpus(flags.jobs);
    let pool = Arc::new(Pool::new(host("local", &[])?, jobs));
    let imported = on_threads(async {
        let stop = tokio::signal::ctrl_c();
        let imported = tokio::select! {
            imported = import.run((pool.clone(), jobs), || bar.inc(1)) => imported?,
            _ = stop => return Err(Interrupted("stopped; run the same command again to resume".into()).into()),
        };
        pool.drain().await.context("cannot close a sandbox")?;
        anyhow::Ok(imported)
    })?;
    bar.finish_and_clear();
    terminal.print(&imported.text())
}
