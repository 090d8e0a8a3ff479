//! `fixfly bench probe`: finds out which items a sandbox supports by running them
//! in it and in `local`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, value_parser};
use fixfly_benchmarks::probe::Prober;
use fixfly_benchmarks::support::{self, PARTIAL_SANDBOXES, Support, SupportCounts};
use fixfly_benchmarks::{Item, django, open_methods};
use fixfly_runtime::{Split, Task, unsupported_reasons};
use fixfly_sandboxes::Pool;

use crate::failure::Usage;
use crate::flags::{cpus, host, split};
use crate::swebench::opening;
use crate::terminal::{Terminal, print};
use crate::threads::on_threads;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly bench probe django
  fixfly bench probe django --split train --limit 200
  fixfly bench probe python --benchmark-dir benchmarks/mine

A sandbox supports an item if the original passes, a stub fails, and every test
of both has the same outcome as in `local`. Results are saved item by item to
wasm.jsonl in the benchmark directory. Run the same command again to resume.")]
pub(crate) struct Flags {
    /// Benchmark to probe: django or python
    #[arg(value_name = "BENCHMARK")]
    benchmark: String,

    /// Sandbox to probe
    #[arg(long, default_value = "wasm")]
    sandbox: String,

    /// Part of the benchmark: train, validation or benchmark
    #[arg(long, default_value = "benchmark", value_parser = split)]
    split: Split,

    /// Probe at most this many items
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    limit: Option<u32>,

    /// Probe items again that already have a result
    #[arg(long)]
    force: bool,

    /// Number of items to probe in parallel [default: number of CPUs]
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,

    /// File to save results to [default: in the benchmark directory]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Benchmark directory, if not the default
    #[arg(long, value_name = "DIR")]
    benchmark_dir: Option<PathBuf>,
}

pub(crate) fn probe(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    if !PARTIAL_SANDBOXES.contains(&flags.sandbox.as_str()) {
        let (name, some) = (&flags.sandbox, PARTIAL_SANDBOXES.join(", "));
        return Err(
            Usage(format!("`{name}` supports every item; sandboxes to probe: {some}")).into()
        );
    }
    let methods =
        open_methods(&flags.benchmark, flags.benchmark_dir.as_deref()).map_err(opening)?;
    let folder = flags.benchmark_dir.clone().unwrap_or_else(django::folder);
    let file = flags.output.clone().unwrap_or_else(|| support::file(&folder, &flags.sandbox));
    let jobs = cpus(flags.jobs);
    let probed = Arc::new(Pool::new(host(&flags.sandbox, &[])?, jobs));
    let local = Arc::new(Pool::new(host("local", &[])?, jobs));
    let prober =
        Prober { methods: Arc::new(methods), probed: probed.clone(), local: local.clone() };
    on_threads(async {
        let (summary, broken) = probe_all(prober, flags, (jobs, &file), terminal).await?;
        probed.drain().await.and(local.drain().await).context("cannot close a sandbox")?;
        print(&summary)?;
        terminal.status(&format!("wrote {}", file.display()));
        match broken {
            0 => Ok(()),
            some => anyhow::bail!(
                "{some} items could not be probed; run the same command again to retry them"
            ),
        }
    })
}

/// Probes the items without a result. Returns the table, and the number of items that
/// could not be probed.
async fn probe_all(
    prober: Prober,
    flags: &Flags,
    (jobs, file): (usize, &Path),
    terminal: &Terminal,
) -> anyhow::Result<(String, usize)> {
    let mut known = Support::read(file)?;
    let items = prober.items(flags.split, flags.limit).await?;
    let is_to_do = |(_, item): &&(Task, Item)| flags.force || known.get(item).is_none();
    let to_do: Vec<(Task, Item)> = items.iter().filter(is_to_do).cloned().collect();
    let template = "probe {wide_bar} {pos}/{len}  {elapsed} elapsed, ETA {eta}";
    let bar = terminal.bar(template, to_do.len())?;
    let probed = |failure: Option<&str>| {
        bar.inc(1);
        failure.iter().for_each(|why| terminal.status(why));
    };
    let broken = prober.probe(to_do, jobs, (&mut known, file), probed).await?;
    bar.finish_and_clear();
    let counts = known.counts(items.iter().map(|(_, item)| item));
    let SupportCounts { probed, supported, unsupported } = counts;
    let table = format!(
        "{} ({}): {} supports {supported} of {probed} items; unsupported:\n{}",
        flags.benchmark,
        flags.split.name(),
        flags.sandbox,
        unsupported_reasons(unsupported),
    );
    Ok((table, broken))
}
