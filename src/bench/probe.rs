//! `fixfly bench probe`: finds out which items a sandbox supports by running them
//! in it and in `local`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, value_parser};
use fixfly_benchmarks::support::{self, ItemSupport, PARTIAL_SANDBOXES, Support};
use fixfly_benchmarks::{Item, Methods, django, python};
use fixfly_runtime::{
    Answer, Benchmark, BenchmarkError, Host, Observation, Outcome, Parallel, Split, Task,
    TestOutcome, first,
};
use fixfly_sandboxes::{HostOptions, Pool};
use indicatif::{ProgressBar, ProgressStyle};

use super::build::on_threads;
use super::evaluate;
use crate::failure::Usage;
use crate::flags::{cpus, named, split};
use crate::tasks::reasons;
use crate::terminal::{Terminal, print};

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

/// Runs items in both sandboxes.
struct Prober {
    methods: Arc<Methods>,
    probed: Pool,
    local: Pool,
}

pub(crate) fn probe(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    if !PARTIAL_SANDBOXES.contains(&flags.sandbox.as_str()) {
        let (name, some) = (&flags.sandbox, PARTIAL_SANDBOXES.join(", "));
        return Err(
            Usage(format!("`{name}` supports every item; sandboxes to probe: {some}")).into()
        );
    }
    let folder = flags.benchmark_dir.clone();
    let (methods, folder) = match (flags.benchmark.as_str(), folder) {
        ("django", folder) => {
            (django::load(folder.as_deref())?, folder.unwrap_or_else(django::folder))
        }
        ("python", Some(folder)) => (python::load(Some(&folder))?, folder),
        ("python", None) => (python::load(None)?, PathBuf::new()),
        (other, _) => {
            let sentence =
                format!("there is no benchmark of methods `{other}`; there is: django, python");
            return Err(Usage(sentence).into());
        }
    };
    let file = flags.output.clone().unwrap_or_else(|| support::file(&folder, &flags.sandbox));
    let jobs = cpus(flags.jobs);
    let host = |name: &str| -> anyhow::Result<Arc<dyn Host>> {
        let options = HostOptions::default();
        Ok((named("sandbox", fixfly_sandboxes::ALL, name)?.open)(&options)?)
    };
    let prober = Prober {
        methods: Arc::new(methods),
        probed: Pool::new(host(&flags.sandbox)?, jobs),
        local: Pool::new(host("local")?, jobs),
    };
    on_threads(probe_all(Arc::new(prober), flags, jobs, file, terminal))
}

async fn probe_all(
    prober: Arc<Prober>,
    flags: &Flags,
    jobs: usize,
    file: PathBuf,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let mut known = Support::read(&file)?;
    let tasks = first(prober.methods.tasks(flags.split).await?, flags.limit);
    let item = |task: &Task| prober.methods.manifest().items.iter().find(|item| item.id == task.id);
    let items: Vec<Item> = tasks.iter().filter_map(item).cloned().collect();
    let is_to_do = |(_, item): &(Task, Item)| flags.force || known.get(item).is_none();
    let to_do: Vec<(Task, Item)> = tasks.into_iter().zip(items.clone()).filter(is_to_do).collect();
    let template = "probe {wide_bar} {pos}/{len}  {elapsed} elapsed, ETA {eta}";
    let style = ProgressStyle::with_template(template)?;
    let bar = terminal.show(ProgressBar::new(to_do.len() as u64).with_style(style));
    let probes = to_do.into_iter().map(|(task, item)| {
        let prober = prober.clone();
        async move { prober.probe(&task, &item).await.map_err(|why| format!("{}: {why}", item.id)) }
    });
    let mut probes = Parallel::new(jobs, probes);
    let mut broken = Vec::new();
    while let Some(found) = probes.next().await {
        bar.inc(1);
        match found.context("an item hit a bug in fixfly; please report it")? {
            Ok(found) => {
                known.insert(found);
                known.write(&file)?;
            }
            Err(why) => {
                terminal.status(&why);
                broken.push(why);
            }
        }
    }
    bar.finish_and_clear();
    prober
        .probed
        .drain()
        .await
        .and(prober.local.drain().await)
        .context("cannot close a sandbox")?;
    print(&table(flags, &items, &known))?;
    terminal.status(&format!("wrote {}", file.display()));
    match broken.len() {
        0 => Ok(()),
        some => anyhow::bail!(
            "{some} items could not be probed; run the same command again to retry them"
        ),
    }
}

fn table(flags: &Flags, items: &[Item], known: &Support) -> String {
    let probed: Vec<&ItemSupport> = items.iter().filter_map(|item| known.get(item)).collect();
    let mut unsupported = BTreeMap::<String, usize>::new();
    for why in probed.iter().filter_map(|found| found.why.clone()) {
        *unsupported.entry(why).or_default() += 1;
    }
    let supported = probed.iter().filter(|found| found.why.is_none()).count();
    format!(
        "{} ({}): {} supports {supported} of {} items; unsupported:\n{}",
        flags.benchmark,
        flags.split.name(),
        flags.sandbox,
        probed.len(),
        reasons(unsupported),
    )
}

impl Prober {
    async fn probe(&self, task: &Task, item: &Item) -> Result<ItemSupport, BenchmarkError> {
        let found = |why| ItemSupport { id: item.id.clone(), hash: item.hash.clone(), why };
        for answer in [Answer::Truth, Answer::Stub] {
            let code = self.methods.ground_truth().answer(task, answer)?;
            let probed = evaluate(&self.probed, &*self.methods, task, &code).await?;
            if answer == Answer::Truth && probed.outcome != Outcome::Passed {
                return Ok(found(Some(format!("the original fails: {}", first_failure(&probed)))));
            }
            let local = evaluate(&self.local, &*self.methods, task, &code).await?;
            if outcomes(&probed) != outcomes(&local) {
                return Ok(found(Some(match answer {
                    Answer::Truth => "the original's tests end otherwise than in local".into(),
                    Answer::Stub => "the stub's tests end otherwise than in local".into(),
                })));
            }
        }
        Ok(found(None))
    }
}

fn outcomes(observation: &Observation) -> Vec<(&str, TestOutcome)> {
    let results = observation.tests.iter().flat_map(|report| &report.results);
    results.map(|result| (result.id.as_str(), result.outcome)).collect()
}

/// The first failure, shortened so that equal failures can be counted.
fn first_failure(observation: &Observation) -> String {
    const MOST: usize = 60;
    let results = observation.tests.iter().flat_map(|report| &report.results);
    let failure = results.filter_map(|result| result.failure.as_ref()).next();
    let Some(failure) = failure else { return format!("{:?}", observation.outcome) };
    let message = failure.message.lines().next().unwrap_or_default();
    let message: String = message.chars().take(MOST).collect();
    match (failure.exception.as_str(), message.as_str()) {
        (exception @ "AssertionError", _) | (exception, "") => exception.to_owned(),
        (exception, message) => format!("{exception}: {message}"),
    }
}
