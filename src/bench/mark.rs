//! `fixfly bench mark`: which items a sandbox can serve, found by running them
//! there and in `local`.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use clap::{Args, value_parser};
use fixfly_benchmarks::fits::{self, Fit, Fits, PARTIAL};
use fixfly_benchmarks::{Item, Methods, django, python};
use fixfly_runtime::{
    Answer, Benchmark, BenchmarkError, Host, Observation, Outcome, Split, Task, TestOutcome, find,
};
use fixfly_sandboxes::Pool;
use indicatif::{ProgressBar, ProgressStyle};

use super::build::on_threads;
use super::evaluate;
use crate::failure::Usage;
use crate::run::{cpus, first, split};
use crate::terminal::{Terminal, print};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly bench mark django
  fixfly bench mark django --split train --limit 200
  fixfly bench mark python --benchmark-dir benchmarks/mine

An item fits a sandbox where its original passes, a stub fails, and every test
of both ends as in `local`. What is found is kept in the benchmark's folder, in
wasm.jsonl, item by item; the same command continues.")]
pub(crate) struct Flags {
    /// Benchmark to try: django or python
    #[arg(value_name = "BENCHMARK")]
    benchmark: String,

    /// Sandbox that serves some items
    #[arg(long, default_value = "wasm")]
    sandbox: String,

    /// Part of the benchmark: train, validation or benchmark
    #[arg(long, default_value = "benchmark", value_parser = split)]
    split: Split,

    /// Only the first so many items
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    limit: Option<u32>,

    /// Try items again that were tried
    #[arg(long)]
    again: bool,

    /// Items at a time; as many as there are processors if not given
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,

    /// File to keep what is found in, if not in the benchmark's folder
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Folder of the benchmark, if it is not in its usual place
    #[arg(long, value_name = "DIR")]
    benchmark_dir: Option<PathBuf>,
}

/// What tries items, in both sandboxes.
struct Trier {
    methods: Arc<Methods>,
    there: Pool,
    local: Pool,
}

pub(crate) fn mark(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    if !PARTIAL.contains(&flags.sandbox.as_str()) {
        let (name, some) = (&flags.sandbox, PARTIAL.join(", "));
        return Err(Usage(format!("`{name}` serves every item; some are served by: {some}")).into());
    }
    let folder = flags.benchmark_dir.clone();
    let (methods, folder) = match (flags.benchmark.as_str(), folder) {
        ("django", folder) => {
            (django::load(folder.as_deref())?, folder.unwrap_or_else(django::folder))
        }
        ("python", Some(folder)) => (python::load(Some(&folder))?, folder),
        ("python", None) => (python::load(None)?, PathBuf::new()),
        (other, _) => {
            let sentence = format!("there is no benchmark `{other}` of methods: django, python");
            return Err(Usage(sentence).into());
        }
    };
    let file = flags.output.clone().unwrap_or_else(|| fits::file(&folder, &flags.sandbox));
    let jobs = cpus(flags.jobs);
    let host = |name: &str| -> anyhow::Result<Arc<dyn Host>> {
        let entry = find("sandbox", fixfly_sandboxes::ALL, name).map_err(Usage)?;
        Ok((entry.open)()?)
    };
    let trier = Trier {
        methods: Arc::new(methods),
        there: Pool::new(host(&flags.sandbox)?, jobs),
        local: Pool::new(host("local")?, jobs),
    };
    on_threads(try_all(Arc::new(trier), flags, jobs, file, terminal))
}

async fn try_all(
    trier: Arc<Trier>,
    flags: &Flags,
    jobs: usize,
    file: PathBuf,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let mut known = Fits::read(&file)?;
    let tasks = first(trier.methods.tasks(flags.split).await?, flags.limit);
    let item = |task: &Task| trier.methods.manifest().items.iter().find(|item| item.id == task.id);
    let items: Vec<Item> = tasks.iter().filter_map(item).cloned().collect();
    let untried = |(_, item): &(Task, Item)| flags.again || known.get(item).is_none();
    let queue: VecDeque<(Task, Item)> =
        tasks.into_iter().zip(items.clone()).filter(untried).collect();
    let style =
        ProgressStyle::with_template("mark {wide_bar} {pos}/{len}  {elapsed} gone, {eta} to go")?;
    let bar = terminal.show(ProgressBar::new(queue.len() as u64).with_style(style));
    let queue = Arc::new(Mutex::new(queue));
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..jobs {
        let (trier, queue, sender) = (trier.clone(), queue.clone(), sender.clone());
        tokio::spawn(async move {
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some((task, item)) = next() {
                let fit =
                    trier.fit(&task, &item).await.map_err(|why| format!("{}: {why}", item.id));
                if sender.send(fit).is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);
    let mut broken = Vec::new();
    while let Some(found) = receiver.recv().await {
        bar.inc(1);
        match found {
            Ok(fit) => {
                known.insert(fit);
                known.write(&file)?;
            }
            Err(why) => {
                terminal.say(&why);
                broken.push(why);
            }
        }
    }
    bar.finish_and_clear();
    trier.there.drain().await.and(trier.local.drain().await).context("a sandbox remains")?;
    print(&table(flags, &items, &known))?;
    terminal.say(&format!("facts: {}", file.display()));
    match broken.len() {
        0 => Ok(()),
        some => anyhow::bail!("{some} items could not be tried; the same command tries them again"),
    }
}

fn table(flags: &Flags, items: &[Item], known: &Fits) -> String {
    let tried: Vec<&Fit> = items.iter().filter_map(|item| known.get(item)).collect();
    let mut unsupported = BTreeMap::<String, usize>::new();
    for why in tried.iter().filter_map(|fit| fit.why.clone()) {
        *unsupported.entry(why).or_default() += 1;
    }
    let served = tried.iter().filter(|fit| fit.why.is_none()).count();
    format!(
        "{} ({}): {} serves {served} of {} items; left out:\n{}",
        flags.benchmark,
        flags.split.name(),
        flags.sandbox,
        tried.len(),
        reasons(unsupported),
    )
}

/// Reasons and how many they concern, the most frequent first.
pub(crate) fn reasons(unsupported: BTreeMap<String, usize>) -> String {
    const MOST: usize = 12;
    let mut rows: Vec<(String, usize)> = unsupported.into_iter().collect();
    rows.sort_by(|(one, few), (other, many)| many.cmp(few).then(one.cmp(other)));
    let rest: usize = rows.iter().skip(MOST).map(|(_, count)| count).sum();
    rows.truncate(MOST);
    rows.extend((rest > 0).then(|| ("other reasons".to_owned(), rest)));
    rows.iter().map(|(why, count)| format!("  {count:5}  {why}\n")).collect()
}

impl Trier {
    async fn fit(&self, task: &Task, item: &Item) -> Result<Fit, BenchmarkError> {
        let fit = |why| Fit { id: item.id.clone(), hash: item.hash.clone(), why };
        for answer in [Answer::Truth, Answer::Stub] {
            let code = self.methods.ground_truth().answer(task, answer)?;
            let there = evaluate(&self.there, &*self.methods, task, &code).await?;
            if answer == Answer::Truth && there.outcome != Outcome::Passed {
                return Ok(fit(Some(format!("the original fails: {}", first_failure(&there)))));
            }
            let local = evaluate(&self.local, &*self.methods, task, &code).await?;
            if outcomes(&there) != outcomes(&local) {
                return Ok(fit(Some(match answer {
                    Answer::Truth => "the original's tests end otherwise than in local".into(),
                    Answer::Stub => "the stub's tests end otherwise than in local".into(),
                })));
            }
        }
        Ok(fit(None))
    }
}

fn outcomes(observation: &Observation) -> Vec<(&str, TestOutcome)> {
    let results = observation.tests.iter().flat_map(|report| &report.results);
    results.map(|result| (result.id.as_str(), result.outcome)).collect()
}

/// What went wrong first, short enough to be counted.
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
