//! `fixfly run`: runs a policy on a benchmark and records the episodes.

mod glob;
mod interrupts;
pub(crate) mod issues;
pub(crate) mod model;
mod progress;
mod queue;
mod record;

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, value_parser};
use fixfly_policies::{Open, Settings};
use fixfly_runtime::{
    Benchmark, Episode, Host, Lifetime, Policy, Protection, RunDirectory, Split, Task, Templates,
    read_episodes,
};
use fixfly_sandboxes::Pool;

use crate::failure::{Interrupted, Usage};
use crate::flags::{choices, named, split};
use crate::machine::{self, cpus};
use crate::report;
use crate::sandbox;
use crate::tasks::{first, supported_tasks};
use crate::terminal::Terminal;
use glob::matches;
pub(crate) use interrupts::Interrupts;
use progress::Progress;
use queue::{MAX_CONSECUTIVE_FAILURES, Queue, RunContext, RunOutcome, Work};
pub(crate) use record::episode_seed;
use record::{facts, record};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly run django --policy oracle --limit 20 -o runs/oracle
  fixfly run django --policy retrieval --turns 5 --jobs 8 -o runs/retrieval
  fixfly run django --policy retrieval --task-id 'django/utils/*' -o runs/utils
  fixfly run django --policy replay --replay runs/retrieval -o runs/again
  fixfly run swebench --instances lite.jsonl --repos ~/mirrors --policy openai --model gpt-4.1 -o runs/lite

Run the same command again to resume a run that was stopped or killed. Ctrl-C
finishes the running episodes; press it again to stop at once.")]
pub(crate) struct Flags {
    #[arg(value_name = "BENCHMARK", help = choices("Benchmark to run", fixfly_benchmarks::ALL))]
    benchmark: String,

    #[arg(long, default_value = "retrieval", help = choices("Policy to run", fixfly_policies::ALL))]
    policy: String,

    /// Run directory to write or resume
    #[arg(short, long, value_name = "RUN")]
    output: PathBuf,

    /// Split of the benchmark: train, validation or benchmark
    #[arg(long, default_value = "benchmark", value_parser = split)]
    split: Split,

    /// Maximum number of turns of an episode [default: 5, for issues 100]; 0 records
    /// the tasks without attempting them
    #[arg(long, value_parser = value_parser!(u32).range(0..=1000))]
    turns: Option<u32>,

    /// Number of episodes per task
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=10_000))]
    samples: u32,

    /// Number of episodes to run in parallel [default: number of CPUs]
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,

    /// Run at most this many tasks
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    limit: Option<u32>,

    /// Only tasks whose id matches; `*` matches any text, `?` any one character
    #[arg(long, value_name = "PATTERN")]
    task_id: Option<String>,

    /// Random seed; each episode's seed is derived from it
    #[arg(long, default_value_t = 0)]
    seed: u64,

    #[arg(long, default_value = "local", help = choices("Sandbox to run the tools in", fixfly_sandboxes::ALL))]
    sandbox: String,

    /// Run even if the sandbox cannot provide every required protection on this
    /// machine; run.json records the isolation. See `fixfly sandbox doctor`
    #[arg(long, env = "FIXFLY_ALLOW_WEAK")]
    allow_weak: bool,

    /// Folder with system.jinja, first.jinja or later.jinja to use instead of
    /// the built-in prompts
    #[arg(long, value_name = "DIR")]
    prompts: Option<PathBuf>,

    /// Recorded run to replay, for policies that replay one
    #[arg(long, value_name = "RUN")]
    replay: Option<PathBuf>,

    /// Benchmark directory, if not the default
    #[arg(long, value_name = "DIR")]
    benchmark_dir: Option<PathBuf>,

    #[command(flatten)]
    issues: issues::Flags,

    #[command(flatten)]
    model: model::Flags,
}

/// Default number of turns of a method's episode.
const TURNS: u32 = 5;

pub(crate) fn run(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let ended = run_by(flags, None, terminal)?;
    if !ended.stopped {
        report::summary(&flags.output)?;
    }
    conclude(ended, &flags.output)
}

/// Records a run without printing a summary. Uses `policy` instead of opening the
/// one that the flags name, if given.
pub(crate) fn record_by(
    flags: &Flags,
    policy: Option<Box<dyn Policy>>,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    conclude(run_by(flags, policy, terminal)?, &flags.output)
}

fn run_by(
    flags: &Flags,
    policy: Option<Box<dyn Policy>>,
    terminal: &Terminal,
) -> anyhow::Result<RunOutcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(episodes(flags, policy, terminal))
}

async fn episodes(
    flags: &Flags,
    opened: Option<Box<dyn Policy>>,
    terminal: &Terminal,
) -> anyhow::Result<RunOutcome> {
    let open_policy = &named("policy", fixfly_policies::ALL, &flags.policy)?.open;
    let open_host = &named("sandbox", fixfly_sandboxes::ALL, &flags.sandbox)?.open;
    let open_benchmark = &named("benchmark", fixfly_benchmarks::ALL, &flags.benchmark)?.open;
    let recorded = recording(flags, open_policy)?;
    let is_of_issues = matches!(open_benchmark, fixfly_benchmarks::Open::Issues(_));
    let templates = match is_of_issues {
        true => Templates::for_issues(flags.prompts.as_deref())?,
        false => Templates::load(flags.prompts.as_deref())?,
    };

    let jobs = cpus(flags.jobs);
    let settings = settings(flags);
    fixfly_sandboxes::name_run(flags.output.display().to_string());
    let host = open_host()?;
    let benchmark = open(flags, open_benchmark, &*host, terminal).await?;
    let split = benchmark.tasks(flags.split).await?;
    let facts = facts(&*benchmark, &split);
    let asked = matching(flags, split)?;
    // Tasks that are only recorded need no sandbox.
    let supported = match flags.turns {
        Some(0) => asked,
        _ => supported_tasks((&flags.sandbox, flags.split), &*benchmark, asked, terminal)?,
    };
    let mut tasks = chosen(flags, supported);
    flags.issues.prepare(&mut tasks, flags.model.calls_in_words())?;
    let policy: Box<dyn Policy> = match (opened, open_policy) {
        (Some(policy), _) => policy,
        (None, Open::Examples(open)) => open(benchmark.ground_truth().examples()?),
        (None, Open::Answers(open)) => open(benchmark.clone()),
        (None, Open::Episodes(open)) => open(recorded),
        (None, Open::Model(open)) => open(&settings).map_err(Usage)?,
    };
    let worlds: Vec<_> = tasks.iter().map(|task| &task.sandbox).collect();
    sandbox::ensure_image(&flags.sandbox, &worlds, terminal).await?;
    if !flags.allow_weak {
        require_isolation(&flags.sandbox, &host.parts().await)?;
    }
    let pool = Arc::new(Pool::new(host, jobs * sandboxes_per_attempt(&tasks)));

    let asked = matches!(open_policy, Open::Model(_)).then_some(&settings);
    let mut record = record(flags, asked, &templates, facts, &*pool);
    if is_of_issues {
        record.config.extend(flags.issues.config());
        record.config.extend(tasks.first().map(|task| ("turns".into(), task.budget.turns.into())));
    }
    let (mut directory, finished) = RunDirectory::open(&flags.output, &record)?;
    let total = tasks.len() * flags.samples as usize;
    let queue = Queue { waiting: work(flags, tasks, &finished), jobs };
    let mut progress = Progress::new(terminal, total, &finished);
    let tools = fixfly_tools::ALL.iter().map(|entry| (entry.open)()).collect();
    let context = RunContext {
        policy_name: flags.policy.clone(),
        policy,
        tools,
        host: pool.clone(),
        benchmark,
        templates,
        seed: flags.seed,
    };
    let mut interrupts = Interrupts::listen()?;
    let ended = queue.work_off(context, &mut interrupts, &mut directory, &mut progress).await;
    if let Err(error) = pool.drain().await {
        tracing::warn!("a sandbox was not closed cleanly: {error}");
    }
    progress.finish();
    let ended = ended?;
    if is_of_issues {
        let model = settings.model.as_deref().filter(|_| asked.is_some());
        issues::write_predictions(&flags.output, &flags.output, model.unwrap_or(&flags.policy))?;
    }
    if !ended.stopped {
        terminal.status(&format!("episodes: {}", directory.episodes_file().display()));
    }
    Ok(ended)
}

/// The settings for a policy that uses a model.
pub(crate) fn settings(flags: &Flags) -> Settings {
    flags.model.settings(&flags.output, cpus(flags.jobs))
}

/// Refuses a sandbox that lacks a required protection.
fn require_isolation(sandbox: &str, parts: &[Protection]) -> Result<(), Usage> {
    let Some(part) = parts.iter().find(|part| part.is_missing()) else { return Ok(()) };
    let Protection { name, mend: remedy, cost, .. } = part;
    Err(Usage(format!(
        "the sandbox `{sandbox}` lacks a protection on this machine: {name} ({cost}); remedy: \
         {remedy}; pass --allow-weak to run without it, see `fixfly sandbox doctor`"
    )))
}

/// Returns an error if episodes are missing.
fn conclude(ended: RunOutcome, run: &Path) -> anyhow::Result<()> {
    let RunOutcome { stopped, halted, gave_up, left, failed, broken, .. } = ended;
    if let Some(why) = halted {
        let run = run.display();
        anyhow::bail!(
            "stopped with {left} episodes left: {why}; run the same command again to resume {run}"
        );
    }
    if let Some(why) = gave_up {
        anyhow::bail!(
            "stopped with {left} episodes left: {MAX_CONSECUTIVE_FAILURES} attempts in a row failed for reasons \
             outside the policy ({why}); fix the cause, then run the same command again to resume {}",
            run.display()
        );
    }
    if stopped {
        let run = run.display();
        let sentence = format!(
            "stopped with {left} episodes left; run the same command again to resume {run}"
        );
        return Err(Interrupted(sentence).into());
    }
    if let Some(why) = broken.first() {
        anyhow::bail!(
            "{} episodes hit a bug in fixfly and were not recorded ({why}); please report it",
            broken.len()
        );
    }
    if let Some(why) = failed.first() {
        anyhow::bail!(
            "{} episodes failed for reasons outside the policy, three times each ({why}); \
             run the same command again to retry them",
            failed.len()
        );
    }
    Ok(())
}

async fn open(
    flags: &Flags,
    open: &fixfly_benchmarks::Open,
    host: &dyn Host,
    terminal: &Terminal,
) -> anyhow::Result<Arc<dyn Benchmark>> {
    match open {
        fixfly_benchmarks::Open::Folder(_) if flags.issues.given() => Err(Usage(format!(
            "the benchmark `{}` has methods, not issues: remove the flags that --help lists under \"SWE-bench options\"",
            flags.benchmark
        ))
        .into()),
        fixfly_benchmarks::Open::Folder(open) => Ok(open(flags.benchmark_dir.as_deref())?),
        fixfly_benchmarks::Open::Issues(open) => Ok(open(flags.issues.grader(host, terminal).await?)),
    }
}

fn recording(flags: &Flags, policy: &Open) -> anyhow::Result<Vec<Episode>> {
    let name = &flags.policy;
    match (policy, &flags.replay) {
        (Open::Examples(_) | Open::Answers(_) | Open::Episodes(_), _) if flags.model.given() => {
            Err(Usage(format!(
                "the policy `{name}` uses no model: remove the flags that --help lists under \"Model options\""
            ))
            .into())
        }
        (Open::Episodes(_), Some(run)) => Ok(read_episodes(run)?),
        (Open::Episodes(_), None) => {
            Err(Usage(format!("the policy `{name}` replays a recorded run: name it with --replay RUN"))
                .into())
        }
        (_, Some(_)) => {
            Err(Usage(format!("the policy `{name}` replays no run: remove --replay"))
                .into())
        }
        (_, None) => Ok(Vec::new()),
    }
}

/// The tasks that match `--task-id`.
fn matching(flags: &Flags, mut tasks: Vec<Task>) -> anyhow::Result<Vec<Task>> {
    let split = flags.split.name();
    if let Some(pattern) = &flags.task_id {
        tasks.retain(|task| matches(pattern, &task.id));
        if tasks.is_empty() {
            let sentence = format!("no task of {} ({split}) matches `{pattern}`", flags.benchmark);
            return Err(Usage(sentence).into());
        }
    }
    if tasks.is_empty() {
        anyhow::bail!("{} has no tasks in its split {split}", flags.benchmark);
    }
    Ok(tasks)
}

/// The tasks to run, with their limits.
fn chosen(flags: &Flags, tasks: Vec<Task>) -> Vec<Task> {
    let mut tasks = first(tasks, flags.limit);
    for task in &mut tasks {
        let usual = if task.statement.issue().is_some() { task.budget.turns } else { TURNS };
        task.budget.turns = flags.turns.unwrap_or(usual);
        task.budget.usd = flags.model.cost_limit();
    }
    tasks
}

/// Sandboxes that an attempt needs at once: if it keeps one for all its turns, a
/// pass is judged in a second one, and attempts must not wait for each other.
fn sandboxes_per_attempt(tasks: &[Task]) -> usize {
    match tasks.iter().any(|task| task.sandbox.lifetime == Lifetime::Episode) {
        true => 2,
        false => 1,
    }
}

fn work(flags: &Flags, tasks: Vec<Task>, finished: &[Episode]) -> VecDeque<Work> {
    let finished: HashSet<(&str, u32)> =
        finished.iter().map(|e| (e.task.id.as_str(), e.provenance.sample)).collect();
    let tasks: Vec<Arc<Task>> = tasks.into_iter().map(Arc::new).collect();
    // Sample by sample, so that an interrupted run covers every task.
    (0..flags.samples)
        .flat_map(|sample| tasks.iter().map(move |task| (task, sample)))
        .filter(|(task, sample)| !finished.contains(&(task.id.as_str(), *sample)))
        .map(|(task, sample)| Work { task: task.clone(), sample, retries: 0 })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_without_a_required_protection_is_refused() {
        let part = |by: Option<&str>, needed| Protection {
            name: "memory of the whole sandbox",
            by: by.map(str::to_owned),
            needed,
            mend: "ask for it".to_owned(),
            cost: "all can be taken",
        };
        assert!(
            require_isolation("local", &[part(Some("cgroup v2"), true), part(None, false)]).is_ok()
        );
        let why = require_isolation("local", &[part(None, true)]).unwrap_err().to_string();
        assert_eq!(
            why,
            "the sandbox `local` lacks a protection on this machine: memory of the whole sandbox \
             (all can be taken); remedy: ask for it; pass --allow-weak to run without it, see \
             `fixfly sandbox doctor`"
        );
    }
}
