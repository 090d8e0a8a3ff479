//! `fixfly bench verify`: checks a benchmark by its own rules.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, value_parser};
use fixfly_benchmarks::both::BothPaths;
use fixfly_benchmarks::{find_methods, open_methods, python};
use fixfly_policies::Open;
use fixfly_runtime::{
    Control, ControlResult, SelectError, Split, TaskKind, Templates, Verification, Verifier, first,
    split_supported,
};
use fixfly_sandboxes::{DOCKER_HOST_HELP, Pool};

use crate::failure::Usage;
use crate::flags::{choices, cpus, host, named, split};
use crate::sandbox;
use crate::swebench::opening;
use crate::tasks::show_unsupported;
use crate::terminal::{Terminal, print};
use crate::threads::on_threads;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly bench verify django
  fixfly bench verify django --limit 20
  fixfly bench verify django --split validation --repeat 3
  fixfly bench verify python --benchmark-dir benchmarks/mine --both")]
pub(crate) struct Flags {
    /// Benchmark to verify
    #[arg(value_name = "BENCHMARK")]
    benchmark: String,

    /// Split of the benchmark: train, validation or benchmark
    #[arg(long, default_value = "benchmark", value_parser = split)]
    split: Split,

    /// Check at most this many items
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    limit: Option<u32>,

    /// Number of times to check each item
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=1000))]
    repeat: u32,

    /// Compare the hot path and shared prefixes with the cold path, on originals, stubs
    /// and mutants
    #[arg(long, conflicts_with = "repeat")]
    both: bool,

    /// Number of items to check in parallel [default: number of CPUs]
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,

    #[arg(long, default_value = "local", help = choices("Sandbox to run candidates in", fixfly_sandboxes::ALL))]
    sandbox: String,

    #[arg(long, hide_short_help = true, value_name = "URL", help = DOCKER_HOST_HELP)]
    docker_host: Vec<String>,

    /// Benchmark directory, if not the default
    #[arg(long, value_name = "DIR")]
    benchmark_dir: Option<PathBuf>,
}

pub(crate) fn verify(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    if flags.both {
        return compare(flags, terminal);
    }
    let open = find_methods(&flags.benchmark, super::INSTEAD).map_err(opening)?;
    let benchmark = open(flags.benchmark_dir.as_deref())?;
    let jobs = cpus(flags.jobs);
    let host = host(&flags.sandbox, &flags.docker_host)?;
    let mut controls = Vec::new();
    for (name, solves) in [("oracle", true), ("null", false)] {
        let Open::Answers(open) = &named("policy", fixfly_policies::ALL, name)?.open else {
            anyhow::bail!("the policy `{name}` is not a control")
        };
        controls.push(Control { name, solves, policy: open(benchmark.clone()) });
    }
    let pool = Arc::new(Pool::new(host, jobs));
    let verifier = Verifier {
        controls,
        benchmark,
        tools: fixfly_tools::ALL.iter().map(|entry| (entry.open)()).collect(),
        host: pool.clone(),
        templates: Templates::load(TaskKind::Method, None)?,
    };
    let clock = Instant::now();
    let found = on_threads(async {
        let found = check_all(verifier, flags, jobs, terminal).await?;
        pool.drain().await?;
        anyhow::Ok(found)
    })?;
    let (name, wall) = (flags.split.name(), clock.elapsed().as_secs_f64());
    print(&format!(
        "{} ({name}), checked {} times each, {wall:.0} s in total\n{}",
        flags.benchmark,
        flags.repeat,
        found.text()
    ))?;
    let failed = found.failed();
    match failed.len() {
        0 => Ok(()),
        some => anyhow::bail!(
            "{some} items failed verification: {}",
            failed.into_keys().collect::<Vec<_>>().join(", ")
        ),
    }
}

/// Hot and shared against cold, on every item that takes either.
fn compare(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let methods = open_methods(&flags.benchmark, flags.benchmark_dir.as_deref());
    let methods = Arc::new(methods.map_err(opening)?);
    let jobs = cpus(flags.jobs);
    let pool = Arc::new(Pool::new(host(&flags.sandbox, &flags.docker_host)?, jobs));
    let paths = BothPaths { methods, host: pool.clone() };
    let items = paths.items(flags.split, flags.limit);
    let template = "compare {wide_bar} {pos}/{len}  {elapsed} elapsed, ETA {eta}";
    let bar = terminal.bar(template, paths.comparable(&items).len())?;
    let found = on_threads(async {
        let found = paths.compare(items, jobs, || bar.inc(1)).await?;
        pool.drain().await?;
        anyhow::Ok(found)
    })?;
    bar.finish_and_clear();
    let name = flags.split.name();
    print(&format!("{} ({name}), hot path against cold path\n{}", flags.benchmark, found.text()))?;
    let failed: Vec<&str> = found.failed().into_iter().collect();
    if failed.is_empty() {
        return Ok(());
    }
    let (differ, names) = (found.differ_hot(), failed.join(", "));
    let mut remedy = "";
    if let ("python", Some(folder)) = (flags.benchmark.as_str(), &flags.benchmark_dir)
        && !differ.is_empty()
    {
        python::put_on_cold_path(folder, &differ)?;
        remedy = "; those that differ on the hot path take the cold path from now on";
    }
    anyhow::bail!("{} items differ between the paths: {names}{remedy}", failed.len())
}

async fn check_all(
    verifier: Verifier,
    flags: &Flags,
    jobs: usize,
    terminal: &Terminal,
) -> anyhow::Result<Verification> {
    let tasks = verifier.benchmark.tasks(flags.split).await?;
    let (tasks, unsupported) = split_supported(&flags.sandbox, &*verifier.benchmark, tasks);
    show_unsupported((&flags.sandbox, flags.split), tasks.len(), &unsupported, terminal);
    if tasks.is_empty() && !unsupported.is_empty() {
        let (sandbox, reasons) = (flags.sandbox.clone(), unsupported);
        return Err(Usage(SelectError::Unsupported { sandbox, reasons }.to_string()).into());
    }
    if tasks.is_empty() {
        let (benchmark, split) = (flags.benchmark.clone(), flags.split.name());
        return Err(SelectError::NoTasks { benchmark, split }.into());
    }
    let tasks = first(tasks, flags.limit);
    let worlds: Vec<_> = tasks.iter().map(|task| &task.sandbox).collect();
    sandbox::ensure_image((&flags.sandbox, &flags.docker_host), &worlds, terminal).await?;
    let total = tasks.len() * flags.repeat as usize;
    let template = "verify {wide_bar} {pos}/{len}  {elapsed} elapsed, ETA {eta}";
    let bar = terminal.bar(template, total)?;
    let tasks = (0..flags.repeat).flat_map(move |_| tasks.clone());
    let checked = |results: &[ControlResult]| {
        bar.inc(1);
        for fault in results.iter().filter_map(|result| result.fault.as_ref()) {
            terminal.status(fault);
        }
    };
    let found = verifier.verify(tasks, jobs, checked).await?;
    bar.finish_and_clear();
    Ok(found)
}
