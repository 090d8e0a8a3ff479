//! `fixfly reason elicit`.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use clap::{Args, ValueEnum};
use fixfly_benchmarks::find_methods;
use fixfly_datasets::{
    Dataset, ELICITATIONS, Elicitation, Prompts, TaskTests, TraceRequest, TraceRequests,
};
use fixfly_policies::Once;
use fixfly_runtime::{Attempt, Benchmark, Budget, Split, Task, TaskKind, Templates, Tool, attempt};
use fixfly_sandboxes::Pool;
use serde_json::json;

use super::teacher::{self, Verb};
use crate::bench::INSTEAD;
use crate::dataset::Python;
use crate::failure::Usage;
use crate::flags::{choices, host, named};
use crate::swebench::opening;
use crate::terminal::Terminal;
use crate::threads::threads;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly reason elicit datasets/v4 --profile qwen3-235b-thinking --budget 50 -o traces/v4
  fixfly reason elicit datasets/v4 --model Qwen/Qwen3-32B --base-url http://localhost:8000/v1 -o traces/v4
  fixfly reason elicit datasets/v4 --accept tests --benchmark django ... -o traces/v4
  fixfly dataset build --recipe v4-reasoning --traces traces/v4/traces.jsonl runs/* -o datasets/v4-reasoning

Run the same command again to resume; recorded answers are not requested or paid for
again.")]
pub(super) struct Flags {
    /// Dataset whose answers need reasoning
    #[arg(value_name = "DATASET")]
    dataset: PathBuf,

    #[arg(long, value_name = "NAME", default_value = "minimal", help = choices("Prompt for the teacher", ELICITATIONS))]
    prompt: String,

    /// When to accept a trace: the teacher's final code is the given solution, or passes the tests
    #[arg(long, value_name = "WHEN", default_value = "same")]
    accept: Accept,

    /// Benchmark of the tests, for --accept tests
    #[arg(long, value_name = "NAME", default_value = "django")]
    benchmark: String,

    /// Folder of that benchmark [default: its usual place]
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    benchmark_dir: Option<PathBuf>,

    /// Sandbox of those tests
    #[arg(long, value_name = "NAME", default_value = "local")]
    sandbox: String,

    #[command(flatten)]
    teacher: teacher::Flags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Accept {
    /// The code has the syntax tree of the given solution
    Same,
    /// The code passes the tests, in a sandbox
    Tests,
}

pub(super) fn elicit(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let by = named("prompt", ELICITATIONS, &flags.prompt)?.name;
    let dataset = Dataset::open(&flags.dataset)?;
    if dataset.summary.reasoned > 0 {
        let folder = flags.dataset.display();
        return Err(Usage(format!(
            "{folder} has rows with reasoning: name a dataset of a recipe without reasoning"
        ))
        .into());
    }
    let prompts = Arc::new(Prompts::load(flags.teacher.prompts.as_deref())?);
    let runtime = threads()?;
    let bench = match flags.accept {
        Accept::Same => None,
        Accept::Tests => Some(Arc::new(runtime.block_on(Bench::open(flags))?)),
    };
    let limit = flags.teacher.limit();
    let ids = dataset.rows()?.take(limit).map(|row| row.map(|row| row.id));
    let rows = ids.collect::<Result<Vec<_>, _>>()?;
    let accept = match &bench {
        None => fixfly_datasets::Accept::Same(Arc::new(Python)),
        Some(bench) => fixfly_datasets::Accept::Tests(bench.clone()),
    };
    let requests: TraceRequests<'_> = Box::new(dataset.rows()?.take(limit).map(|row| {
        let request = Elicitation::new(row?, by, prompts.clone(), accept.clone());
        Ok(Box::new(request) as Box<dyn TraceRequest>)
    }));
    let about = json!({
        "verb": "elicit",
        "dataset_sha256": dataset.sha256()?,
        "prompts": { by: prompts.hash(by), "single-turn": prompts.hash("single-turn") },
        "accept": format!("{:?}", flags.accept).to_lowercase(),
    });
    let verb = Verb { about, rows, spared: HashSet::new(), earlier: &|_| None };
    let ended = flags.teacher.ask(&runtime, requests, verb, terminal);
    if let Some(bench) = bench
        && let Err(error) = runtime.block_on(bench.pool.drain())
    {
        tracing::warn!("cannot close a sandbox: {error}");
    }
    ended
}

/// The benchmark and sandboxes that run the tests.
struct Bench {
    benchmark: Arc<dyn Benchmark>,
    tasks: HashMap<String, Task>,
    pool: Pool,
    tools: Vec<Box<dyn Tool>>,
    templates: Templates,
}

impl Bench {
    async fn open(flags: &Flags) -> anyhow::Result<Self> {
        let open = find_methods(&flags.benchmark, INSTEAD).map_err(opening)?;
        let benchmark = open(flags.benchmark_dir.as_deref())?;
        let mut tasks = HashMap::new();
        for split in Split::ALL {
            let of = benchmark.tasks(split).await?;
            tasks.extend(of.into_iter().map(|task| (task.id.clone(), task)));
        }
        let pool = Pool::new(host(&flags.sandbox, &[])?, 2 * flags.teacher.jobs());
        let tools = fixfly_tools::ALL.iter().map(|entry| (entry.open)()).collect();
        Ok(Bench {
            benchmark,
            tasks,
            pool,
            tools,
            templates: Templates::load(TaskKind::Method, None)?,
        })
    }
}

#[async_trait]
impl TaskTests for Bench {
    /// Whether a method passes, by the verdict that an episode of one turn gets.
    async fn passes(&self, task: &str, code: &str) -> Result<bool, String> {
        let Some(task) = self.tasks.get(task) else {
            return Err(format!(
                "the benchmark has no task {task}: name the benchmark of the dataset with --benchmark"
            ));
        };
        let task = Task { budget: Budget { turns: 1, ..task.budget.clone() }, ..task.clone() };
        let with = Attempt {
            policy: ("reason", &Once(code.to_string())),
            tools: &self.tools,
            host: &self.pool,
            benchmark: &*self.benchmark,
            templates: &self.templates,
        };
        let episode = attempt(&with, &task, 0, 0, fixfly_runtime::now()).await;
        match episode.infrastructure_failure() {
            true => Err(format!("{:?}", episode.end)),
            false => Ok(episode.solved_at().is_some()),
        }
    }
}
