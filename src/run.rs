//! `fixfly run`: runs a policy on a benchmark and records the episodes.

mod estimate;
pub(crate) mod issues;
pub(crate) mod model;
pub(crate) mod otlp;
mod progress;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, value_parser};
use fixfly_policies::{Open, Sources};
use fixfly_runtime::answer::EditForm;
use fixfly_runtime::{
    Benchmark, Episode, ExecuteError, FaultOptions, FeedbackForm, Host, Interrupts, Policy, Run,
    RunDirectory, RunOutcome, RunSpec, SelectError, Selection, Shard, Split, Templates, Unfinished,
    episodes_file, read_episodes,
};
use fixfly_sandboxes::{DOCKER_HOST_HELP, HostOptions, Pool};

use crate::failure::{Interrupted, Usage};
use crate::flags::{choices, cpus, host_with, named, split};
use crate::report;
use crate::sandbox;
use crate::swebench;
use crate::tasks::show_unsupported;
use crate::terminal::{self, Terminal};
use crate::threads::on_threads;
use progress::Progress;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly run django --policy oracle --limit 20 -o runs/oracle
  fixfly run django --policy retrieval --turns 5 --jobs 8 -o runs/retrieval
  fixfly run django --policy retrieval --task-id 'django/utils/*' -o runs/utils
  fixfly run django --policy replay --replay runs/retrieval -o runs/again
  fixfly run django --policy openai --profile gpt-4.1 --dry-run -o runs/gpt
  fixfly run swebench --instances lite.jsonl --repos ~/mirrors --policy openai --model gpt-4.1 -o runs/lite

Run the same command again to resume a run that was stopped or killed. Ctrl-C
finishes the running episodes; press it again to stop at once. SIGTERM does the
same, and stops at once after FIXFLY_NOTICE seconds [default: 25].")]
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
    #[arg(long, value_parser = value_parser!(u32).range(0..=100_000))]
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

    /// Run only shard I of N: an equal part of the tasks, of --budget and of the server's
    /// rate limits. `fixfly merge-runs` joins the shards
    #[arg(long, hide_short_help = true, value_name = "I/N")]
    shard: Option<Shard>,

    /// Only tasks whose id matches; `*` matches any text, `?` any one character
    #[arg(long, value_name = "PATTERN")]
    task_id: Option<String>,

    /// Random seed; each episode's seed is derived from it
    #[arg(long, hide_short_help = true, default_value_t = 0)]
    seed: u64,

    #[arg(long, default_value = "local", help = choices("Sandbox to run the tools in", fixfly_sandboxes::ALL))]
    sandbox: String,

    #[arg(long, hide_short_help = true, value_name = "URL", help = DOCKER_HOST_HELP)]
    docker_host: Vec<String>,

    /// Run even if the sandbox cannot provide every required protection on this
    /// machine; run.json records the isolation. See `fixfly sandbox doctor`
    #[arg(long, hide_short_help = true, env = "FIXFLY_ALLOW_WEAK", hide_env_values = true)]
    allow_weak: bool,

    /// Continue even if none of the first episodes holds a usable answer: text outside the
    /// reasoning that no limit cut off
    #[arg(long, hide_short_help = true)]
    keep_going: bool,

    /// Compress the episodes into episodes.jsonl.zst, 256 at a time; `zstdcat` prints them
    #[arg(long, hide_short_help = true)]
    compress: bool,

    /// Folder with system.jinja, first.jinja or later.jinja to use instead of
    /// the built-in prompts
    #[arg(long, hide_short_help = true, value_name = "DIR")]
    prompts: Option<PathBuf>,

    /// What a change may remove from a faulty method: a line, or the text of a line or of a part
    /// of it that occurs once
    #[arg(long, hide_short_help = true, value_name = "line|text", default_value = "line")]
    edit: EditForm,

    /// What follows an answer that did not pass: the tests' results, or only that it did not
    /// pass (a control). For faulty methods
    #[arg(long, hide_short_help = true, value_name = "full|none", default_value = "full")]
    feedback: FeedbackForm,

    /// Mention in the feedback that an answer repeats an earlier one. For faulty methods
    #[arg(long, hide_short_help = true)]
    mention_repeats: bool,

    /// Recorded run to replay, for policies that replay one
    #[arg(long, hide_short_help = true, value_name = "RUN")]
    replay: Option<PathBuf>,

    /// Benchmark directory, if not the default
    #[arg(long, hide_short_help = true, value_name = "DIR")]
    benchmark_dir: Option<PathBuf>,

    /// Print the tasks, and estimates of tokens, dollars and hours, without running
    /// anything
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    issues: issues::Flags,

    #[command(flatten)]
    model: model::Flags,

    #[command(flatten)]
    otlp: otlp::Flags,
}

impl Flags {
    /// The run that these flags describe.
    pub(crate) fn spec(&self) -> anyhow::Result<RunSpec> {
        let jobs = cpus(self.jobs);
        let mut model = self.model.of_policy(&self.policy, &self.output, jobs)?;
        model.iter_mut().for_each(|settings| settings.remote.shard = self.shard);
        let has_issues =
            named("benchmark", fixfly_benchmarks::ALL, &self.benchmark)?.open.has_issues();
        if !has_issues && self.issues.given() {
            return Err(Usage(format!(
                "the benchmark `{}` has methods, not issues: remove the flags that --help lists under \"SWE-bench options\"",
                self.benchmark
            ))
            .into());
        }
        Ok(RunSpec {
            benchmark: self.benchmark.clone(),
            benchmark_dir: self.benchmark_dir.clone(),
            split: self.split,
            task_id: self.task_id.clone(),
            limit: self.limit,
            shard: self.shard,
            samples: self.samples,
            turns: self.turns,
            policy: self.policy.clone(),
            replay: self.replay.clone(),
            model,
            sandbox: self.sandbox.clone(),
            docker_hosts: self.docker_host.clone(),
            seed: self.seed,
            issues: match has_issues {
                true => Some(self.issues.spec(self.model.calls_in_words())?),
                false => None,
            },
            fault_options: FaultOptions {
                edit: self.edit,
                feedback: self.feedback,
                mention_repeats: self.mention_repeats,
            },
            output: self.output.clone(),
            prompts: self.prompts.clone(),
            jobs: Some(jobs),
            allow_weak: self.allow_weak,
            keep_going: self.keep_going,
            until_solved: false,
            compress: self.compress,
        })
    }
}

pub(crate) fn run(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let spec = flags.spec()?;
    if flags.dry_run {
        let text = on_threads(dry_run(&spec, terminal))?;
        return terminal::print(&text);
    }
    let outcome = on_threads(episodes(&spec, None, &flags.otlp, terminal))?;
    if !outcome.stopped {
        report::summary(&flags.output)?;
    }
    conclude(outcome, &flags.output)
}

/// Records a run without printing a summary. Uses `policy` instead of opening the
/// one that the flags name, if given.
pub(crate) fn record(
    flags: &Flags,
    policy: Option<Box<dyn Policy>>,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let outcome = on_threads(episodes(&flags.spec()?, policy, &flags.otlp, terminal))?;
    conclude(outcome, &flags.output)
}

async fn episodes(
    spec: &RunSpec,
    policy: Option<Box<dyn Policy>>,
    otlp: &otlp::Flags,
    terminal: &Terminal,
) -> anyhow::Result<RunOutcome> {
    RunDirectory::check(&spec.output)?;
    let replayed = replayed(spec)?;
    let host = host(spec)?;
    let benchmark = open(spec, &*host, terminal).await?;
    attempts(spec, replayed, (host, benchmark), policy, otlp, terminal).await
}

/// What a run reads before it opens anything: the episodes to replay. The prompts are read
/// when the kind of the tasks is known.
pub(crate) fn replayed(spec: &RunSpec) -> anyhow::Result<Vec<Episode>> {
    let episodes = recording(spec)?;
    Templates::check_folder(spec.prompts.as_deref())?;
    Ok(episodes)
}

/// Makes the attempts of a run on a benchmark that is open, and records them.
pub(crate) async fn attempts(
    spec: &RunSpec,
    replayed: Vec<Episode>,
    (host, benchmark): (Arc<dyn Host>, Arc<dyn Benchmark>),
    policy: Option<Box<dyn Policy>>,
    otlp: &otlp::Flags,
    terminal: &Terminal,
) -> anyhow::Result<RunOutcome> {
    let notice = notice()?;
    let selection = select(spec, &*benchmark, terminal).await?;
    let templates = spec.templates(selection.kind)?;
    RunDirectory::matches(&spec.output, &spec.record(&selection, &templates, &*host))?;
    let sources = Sources { episodes: &replayed, ..Sources::of(spec) };
    let doing = terminal.doing(&format!("opening the policy `{}`", spec.policy));
    let policy = match policy {
        Some(policy) => Ok(policy),
        None => fixfly_policies::open(&spec.policy, &benchmark, sources).map_err(opening),
    };
    doing.finish_and_clear();
    let policy = policy?;
    let worlds: Vec<_> = selection.tasks.iter().map(|task| &task.sandbox).collect();
    sandbox::ensure_image((&spec.sandbox, &spec.docker_hosts), &worlds, terminal).await?;
    let size = spec.jobs() * selection.sandboxes_per_attempt();
    let pool = Arc::new(Pool::new(host, size));
    let run = Run {
        spec: spec.clone(),
        selection,
        benchmark,
        policy,
        tools: fixfly_tools::all(),
        host: pool.clone(),
        templates,
    };
    let progress = Progress::new(terminal, &pool, spec.model.is_some());
    let listening = Interrupts::listen_with_notice(notice);
    let mut interrupts = listening.context("cannot listen for Ctrl-C")?;
    let outcome = otlp::execute(otlp, run, progress, &mut interrupts).await?;
    if let Err(error) = pool.drain().await {
        tracing::warn!("a sandbox was not closed cleanly: {error}");
    }
    let outcome = outcome.map_err(|error| match error {
        ExecuteError::Unprotected { .. } => Usage(error.to_string()).into(),
        ExecuteError::Directory(_) => anyhow::Error::from(error),
    })?;
    if spec.issues.is_some() {
        let model = spec.model.as_ref().and_then(|model| model.model.as_deref());
        issues::write_predictions(&spec.output, &spec.output, model.unwrap_or(&spec.policy))?;
    }
    if !outcome.stopped {
        terminal.status(&format!("episodes: {}", episodes_file(&spec.output).display()));
    }
    Ok(outcome)
}

/// How long after SIGTERM running episodes may finish. Slurm and Kubernetes kill after 30
/// seconds by default, and sandboxes need time to close.
fn notice() -> Result<Duration, Usage> {
    const DEFAULT_SECONDS: u64 = 25;
    let Ok(text) = std::env::var("FIXFLY_NOTICE") else {
        return Ok(Duration::from_secs(DEFAULT_SECONDS));
    };
    text.parse().map(Duration::from_secs).map_err(|_| {
        Usage(format!(
            "FIXFLY_NOTICE is `{text}`; it must be the number of seconds that running episodes have after SIGTERM"
        ))
    })
}

/// Opens the sandboxes' host, in the run's name.
pub(crate) fn host(spec: &RunSpec) -> anyhow::Result<Arc<dyn Host>> {
    let (run, docker_hosts) = (spec.output.display().to_string(), spec.docker_hosts.clone());
    host_with(&spec.sandbox, &HostOptions { run, docker_hosts })
}

fn opening(error: fixfly_policies::OpenError) -> anyhow::Error {
    match error {
        fixfly_policies::OpenError::Usage(why) => Usage(why).into(),
        error => error.into(),
    }
}

/// What the run would take.
async fn dry_run(spec: &RunSpec, terminal: &Terminal) -> anyhow::Result<String> {
    let host = host(spec)?;
    let benchmark = open(spec, &*host, terminal).await?;
    let selection = select(spec, &*benchmark, terminal).await?;
    estimate::table(spec, &selection, &*benchmark, &spec.templates(selection.kind)?)
}

/// The tasks of a run. Reports those that the sandbox does not support.
async fn select(
    spec: &RunSpec,
    benchmark: &dyn Benchmark,
    terminal: &Terminal,
) -> anyhow::Result<Selection> {
    let show = |supported, unsupported: &BTreeMap<String, usize>| {
        show_unsupported((&spec.sandbox, spec.split), supported, unsupported, terminal);
    };
    let bar = terminal.doing("selecting the tasks");
    let selected = spec.select(benchmark).await;
    bar.finish_and_clear();
    let selection = selected.map_err(|error| {
        if let SelectError::Unsupported { reasons, .. } = &error {
            show(0, reasons);
        }
        match error {
            SelectError::Benchmark(_) | SelectError::NoTasks { .. } => anyhow::Error::from(error),
            error => Usage(error.to_string()).into(),
        }
    })?;
    show(selection.supported, &selection.unsupported);
    Ok(selection)
}

/// Returns an error if episodes are missing.
pub(crate) fn conclude(outcome: RunOutcome, run: &Path) -> anyhow::Result<()> {
    outcome.conclude(run).map_err(|why| match why {
        Unfinished::Stopped { .. } => Interrupted(why.to_string()).into(),
        why => why.into(),
    })
}

/// Opens the benchmark of a run.
pub(crate) async fn open(
    spec: &RunSpec,
    host: &dyn Host,
    terminal: &Terminal,
) -> anyhow::Result<Arc<dyn Benchmark>> {
    let bar = terminal.doing("opening the benchmark");
    let say = |what: &str| bar.set_message(format!("preparing {what}"));
    let benchmark = fixfly_benchmarks::open(spec, host, &say).await;
    bar.finish_and_clear();
    benchmark.map_err(swebench::opening)
}

/// The episodes to replay.
fn recording(spec: &RunSpec) -> anyhow::Result<Vec<Episode>> {
    let name = &spec.policy;
    let policy = &named("policy", fixfly_policies::ALL, name)?.open;
    match (policy, &spec.replay) {
        (Open::Episodes(_), Some(run)) => Ok(read_episodes(run)?),
        (Open::Episodes(_), None) => Err(Usage(format!(
            "the policy `{name}` replays a recorded run: name it with --replay RUN"
        ))
        .into()),
        (_, Some(_)) => {
            Err(Usage(format!("the policy `{name}` replays no run: remove --replay")).into())
        }
        (_, None) => Ok(Vec::new()),
    }
}
