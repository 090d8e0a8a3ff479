//! `fixfly bench verify`: checks a benchmark by its own rules.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::{Args, value_parser};
use fixfly_policies::Open;
use fixfly_runtime::{
    Attempt, Benchmark, Episode, Parallel, Policy, SelectError, Split, Task, TaskKind, Templates,
    Tool, attempt, first, split_supported,
};
use fixfly_sandboxes::{HostOptions, Pool};
use indicatif::{ProgressBar, ProgressStyle};

use super::build::on_threads;
use crate::failure::Usage;
use crate::flags::{choices, cpus, named, split};
use crate::sandbox;
use crate::tasks::show_unsupported;
use crate::terminal::{Terminal, print};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly bench verify django
  fixfly bench verify django --limit 20
  fixfly bench verify django --split validation --repeat 3")]
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

    /// Number of items to check in parallel [default: number of CPUs]
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,

    #[arg(long, default_value = "local", help = choices("Sandbox to run candidates in", fixfly_sandboxes::ALL))]
    sandbox: String,

    /// Benchmark directory, if not the default
    #[arg(long, value_name = "DIR")]
    benchmark_dir: Option<PathBuf>,
}

/// A policy, and whether it must solve every item.
struct Control {
    name: &'static str,
    solves: bool,
    policy: Box<dyn Policy>,
}

struct Verifier {
    controls: Vec<Control>,
    benchmark: Arc<dyn Benchmark>,
    tools: Vec<Box<dyn Tool>>,
    templates: Templates,
    pool: Pool,
}

/// An item's result under one control.
struct Checked {
    id: String,
    control: usize,
    solved: bool,
    fault: Option<String>,
    seconds: f64,
}

pub(crate) fn verify(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let open =
        crate::bench::methods(named("benchmark", fixfly_benchmarks::ALL, &flags.benchmark)?)?;
    let benchmark = open(flags.benchmark_dir.as_deref())?;
    let jobs = cpus(flags.jobs);
    let options = HostOptions::default();
    let host = (named("sandbox", fixfly_sandboxes::ALL, &flags.sandbox)?.open)(&options)?;
    let mut controls = Vec::new();
    for (name, solves) in [("oracle", true), ("null", false)] {
        let Open::Answers(open) = &named("policy", fixfly_policies::ALL, name)?.open else {
            anyhow::bail!("the policy `{name}` is not a control")
        };
        controls.push(Control { name, solves, policy: open(benchmark.clone()) });
    }
    let verifier = Arc::new(Verifier {
        controls,
        benchmark,
        tools: fixfly_tools::ALL.iter().map(|entry| (entry.open)()).collect(),
        templates: Templates::load(TaskKind::Method, None)?,
        pool: Pool::new(host, jobs),
    });
    let clock = Instant::now();
    let checked = on_threads(check_all(verifier, flags, jobs, terminal))?;
    print(&table(&checked, flags, clock.elapsed().as_secs_f64()))?;
    let wrong = wrong(&checked);
    match wrong.len() {
        0 => Ok(()),
        some => anyhow::bail!(
            "{some} items failed verification: {}",
            wrong.into_keys().collect::<Vec<_>>().join(", ")
        ),
    }
}

async fn check_all(
    verifier: Arc<Verifier>,
    flags: &Flags,
    jobs: usize,
    terminal: &Terminal,
) -> anyhow::Result<Vec<Checked>> {
    let tasks = verifier.benchmark.tasks(flags.split).await?;
    let (tasks, unsupported) = split_supported(&flags.sandbox, &*verifier.benchmark, tasks);
    show_unsupported((&flags.sandbox, flags.split), tasks.len(), &unsupported, terminal);
    if tasks.is_empty() && !unsupported.is_empty() {
        let (sandbox, reasons) = (flags.sandbox.clone(), unsupported);
        return Err(Usage(SelectError::Unsupported { sandbox, reasons }.to_string()).into());
    }
    let tasks = first(tasks, flags.limit);
    let worlds: Vec<_> = tasks.iter().map(|task| &task.sandbox).collect();
    sandbox::ensure_image(&flags.sandbox, &worlds, terminal).await?;
    let total = tasks.len() * flags.repeat as usize;
    let template = "verify {wide_bar} {pos}/{len}  {elapsed} elapsed, ETA {eta}";
    let style = ProgressStyle::with_template(template)?;
    let bar = terminal.show(ProgressBar::new(total as u64).with_style(style));
    let tasks = (0..flags.repeat).flat_map(|_| tasks.clone());
    let mut checks = Parallel::new(jobs, tasks.map(|task| verifier.clone().check(task)));
    let mut all = Vec::new();
    while let Some(checked) = checks.next().await {
        let checked = checked.context("an item hit a bug in fixfly; please report it")?;
        bar.inc(1);
        for fault in checked.iter().filter_map(|one| one.fault.as_ref()) {
            terminal.status(fault);
        }
        all.extend(checked);
    }
    bar.finish_and_clear();
    verifier.pool.drain().await?;
    Ok(all)
}

impl Verifier {
    /// Checks one item under every control.
    async fn check(self: Arc<Self>, mut task: Task) -> Vec<Checked> {
        task.budget.turns = 1;
        let mut all = Vec::new();
        for (at, control) in self.controls.iter().enumerate() {
            let with = Attempt {
                policy: (control.name, &*control.policy),
                tools: &self.tools,
                host: &self.pool,
                benchmark: &*self.benchmark,
                templates: &self.templates,
            };
            let episode = attempt(&with, &task, 0, 0, fixfly_runtime::now()).await;
            all.push(Checked {
                id: task.id.clone(),
                control: at,
                solved: episode.solved(),
                fault: fault(control, &episode),
                seconds: episode.provenance.seconds,
            });
        }
        all
    }
}

/// Why an episode does not match its control, if it does not.
fn fault(control: &Control, episode: &Episode) -> Option<String> {
    let hidden_tests_pass = episode.verdict.as_ref().and_then(|verdict| verdict.hidden_tests_pass);
    let broken = episode.infrastructure_failure();
    if !broken && episode.solved() == control.solves && hidden_tests_pass != Some(false) {
        return None;
    }
    let id = &episode.task.id;
    let seen = episode.turns.last().map_or("", |turn| turn.observation.text.as_str());
    let wider = episode.verdict.iter().flat_map(|v| &v.wider_failed).cloned().collect::<Vec<_>>();
    Some(format!(
        "{id}: {} ended {:?}; failed hidden tests: [{}]\n{seen}",
        control.name,
        episode.end,
        wider.join(", ")
    ))
}

/// Items that failed, and how often.
fn wrong(checked: &[Checked]) -> BTreeMap<String, usize> {
    let mut wrong = BTreeMap::new();
    for one in checked.iter().filter(|one| one.fault.is_some()) {
        *wrong.entry(one.id.clone()).or_default() += 1;
    }
    wrong
}

fn table(checked: &[Checked], flags: &Flags, wall: f64) -> String {
    let of = |control: usize| {
        let all: Vec<&Checked> = checked.iter().filter(|one| one.control == control).collect();
        let solved = all.iter().filter(|one| one.solved).count();
        let mut seconds: Vec<f64> = all.iter().map(|one| one.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let at =
            |part: f64| seconds.get((seconds.len() as f64 * part) as usize).copied().unwrap_or(0.0);
        (solved, all.len(), at(0.5), at(0.95))
    };
    let (oracle, stub) = (of(0), of(1));
    let name = flags.split.name();
    format!(
        "{} ({name}), checked {} times each, {wall:.0} s in total\n\
         \x20 original solves {} / {}   median {:.2} s, p95 {:.2} s (including cold confirmation, sabotage control and hidden tests)\n\
         \x20 stub solves     {} / {}   median {:.2} s, p95 {:.2} s\n\
         \x20 items that failed: {}\n",
        flags.benchmark,
        flags.repeat,
        oracle.0,
        oracle.1,
        oracle.2,
        oracle.3,
        stub.0,
        stub.1,
        stub.2,
        stub.3,
        wrong(checked).len(),
    )
}
