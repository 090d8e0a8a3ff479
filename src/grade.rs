//! `fixfly grade`: grades patches by the official rules.

mod gold;
mod rewrite;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand, value_parser};
use fixfly_benchmarks::swebench::report::{log_folder, run_report, write_logs};
use fixfly_benchmarks::swebench::{Graded, Grader, Instance, Prediction, Rules, prediction};
use fixfly_runtime::{Host, Parallel, SandboxSpec};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Usage;
use crate::flags::cpus;
use crate::flags::{choices, named};
use crate::terminal::{Terminal, print};
use crate::{sandbox, swebench};

#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Grade predictions on SWE-bench instances, or check the instances
    Swebench(Box<Swebench>),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly grade swebench --instances lite.jsonl --repos ~/mirrors --predictions preds.json
  fixfly grade swebench --instances lite.jsonl --predictions gold --rules 4.1 --instance-id django__django-16527
  fixfly grade swebench --instances lite.jsonl --gold --repeat 3

Logs and reports are written to the same paths as the official harness uses.
Grades are cached: a patch is graded only once, even under another --run-id.")]
pub(crate) struct Swebench {
    /// Predictions: JSON lines, a list, an object by instance; or the word `gold`
    #[arg(long, value_name = "FILE", required_unless_present = "gold", conflicts_with = "gold")]
    predictions: Option<PathBuf>,

    /// Check that the instances fail without the gold patch and pass with it
    #[arg(long)]
    gold: bool,

    /// With --gold: number of times to check each instance
    #[arg(long, default_value_t = 1, requires = "gold", value_parser = value_parser!(u32).range(1..=100))]
    repeat: u32,

    /// Run name used in reports
    #[arg(long, default_value = "fixfly", value_name = "NAME", value_parser = run_name)]
    run_id: String,

    /// Folder for logs and reports
    #[arg(short, long, default_value = ".", value_name = "DIR")]
    output: PathBuf,

    /// Drop changes to tests, binaries and reproduction scripts from patches
    #[arg(long)]
    clean: bool,

    /// Grade patches again that already have a grade
    #[arg(long)]
    force: bool,

    /// Run no tests; rewrite the reports from existing logs of any harness
    #[arg(long, conflicts_with_all = ["gold", "clean", "force"])]
    rewrite_reports: bool,

    /// Number of patches to grade in parallel [default: number of CPUs]
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,

    #[arg(long, default_value = "local", help = choices("Sandbox to run tests in", fixfly_sandboxes::ALL))]
    sandbox: String,

    #[command(flatten)]
    issues: swebench::Flags,
}

fn run_name(name: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !name.is_empty() && !name.starts_with('.') && name.chars().all(plain) {
        true => Ok(name.to_string()),
        false => Err("it may hold letters, digits, `-`, `_` and `.`".into()),
    }
}

pub(crate) fn grade(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let Benchmark::Swebench(flags) = &flags.benchmark;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    match (flags.gold, flags.rewrite_reports) {
        (true, _) => runtime.block_on(gold::check(flags, terminal)),
        (_, true) => rewrite::reports(flags),
        _ => runtime.block_on(predictions(flags, terminal)),
    }
}

/// A patch to grade.
#[derive(Clone)]
struct Job {
    instance: Instance,
    patch: String,
    force: bool,
}

async fn predictions(flags: &Swebench, terminal: &Terminal) -> anyhow::Result<()> {
    let instances = flags.issues.chosen()?;
    let dataset: Vec<String> = instances.iter().map(|instance| instance.id.clone()).collect();
    let given = given(flags, &instances)?;
    let has_patch = |id: &str| {
        given
            .iter()
            .any(|p| p.id == id && p.patch.as_deref().is_some_and(|patch| !patch.is_empty()))
    };
    let with_patch: Vec<Instance> =
        instances.iter().filter(|i| has_patch(&i.id)).cloned().collect();
    let host = host(flags)?;
    let grader = Arc::new(flags.issues.open(with_patch, &*host, terminal).await?);
    let mut jobs = Vec::new();
    for prediction in &given {
        let Some(instance) =
            grader.instances().iter().find(|instance| instance.id == prediction.id)
        else {
            continue;
        };
        let mut patch = prediction.patch.clone().unwrap_or_default();
        if flags.clean {
            let cleaned = grader.cleaned(instance, &patch)?;
            cleaned
                .dropped
                .iter()
                .for_each(|what| terminal.status(&format!("{}: dropped {what}", instance.id)));
            patch = cleaned.patch;
        }
        jobs.push(Job { instance: instance.clone(), patch, force: flags.force });
    }
    let (graded, broken) = all(flags, &grader, &host, jobs.clone(), terminal).await?;
    let graded: BTreeMap<String, Graded> =
        graded.into_iter().map(|graded| (graded.id.clone(), graded)).collect();
    for prediction in &given {
        let Some(one) = graded.get(&prediction.id) else { continue };
        let folder = log_folder(&flags.output, &flags.run_id, &prediction.model, &prediction.id);
        let patch = jobs
            .iter()
            .find(|job| job.instance.id == prediction.id)
            .map_or("", |job| job.patch.as_str());
        write_logs(&folder, patch, one, grader.rules())
            .with_context(|| format!("cannot write {}", folder.display()))?;
    }
    write_run_report(flags, &dataset, &given, &graded, grader.rules())?;
    print(&summary(&dataset, &given, &graded))?;
    conclude(&broken)
}

fn write_run_report(
    flags: &Swebench,
    dataset: &[String],
    given: &[Prediction],
    graded: &BTreeMap<String, Graded>,
    rules: Rules,
) -> anyhow::Result<()> {
    let report = run_report(dataset, given, graded, rules);
    let model = given.first().map_or("None", |p| p.model.as_str()).replace('/', "__");
    let file = flags.output.join(format!("{model}.{}.json", flags.run_id));
    std::fs::create_dir_all(&flags.output)
        .with_context(|| format!("cannot create {}", flags.output.display()))?;
    std::fs::write(&file, serde_json::to_string_pretty(&report)? + "\n")
        .with_context(|| format!("cannot write {}", file.display()))
}

/// The predictions for the selected instances.
fn given(flags: &Swebench, instances: &[Instance]) -> anyhow::Result<Vec<Prediction>> {
    let file = flags.predictions.clone().unwrap_or_default();
    if file.as_os_str() == "gold" {
        let gold = |instance: &Instance| Prediction {
            id: instance.id.clone(),
            model: "gold".into(),
            patch: Some(instance.patch.clone()),
        };
        return Ok(instances.iter().map(gold).collect());
    }
    let mut given = prediction::read(&file)?;
    let known =
        |prediction: &Prediction| instances.iter().any(|instance| instance.id == prediction.id);
    let all = given.len();
    given.retain(known);
    if given.is_empty() {
        let sentence =
            format!("{}: none of its {all} predictions is for a selected instance", file.display());
        return Err(Usage(sentence).into());
    }
    if given.len() < all {
        tracing::warn!(
            "ignoring {} of {all} predictions: their instances are not selected",
            all - given.len()
        );
    }
    Ok(given)
}

fn host(flags: &Swebench) -> anyhow::Result<Arc<dyn Host>> {
    let options = fixfly_sandboxes::HostOptions::default();
    Ok((named("sandbox", fixfly_sandboxes::ALL, &flags.sandbox)?.open)(&options)?)
}

/// Grades all patches in parallel. Infrastructure failures are returned separately.
async fn all(
    flags: &Swebench,
    grader: &Arc<Grader>,
    host: &Arc<dyn Host>,
    jobs: Vec<Job>,
    terminal: &Terminal,
) -> anyhow::Result<(Vec<Graded>, Vec<String>)> {
    let worlds: Vec<SandboxSpec> =
        jobs.iter().map(|job| grader.sandbox(&job.instance)).collect::<Result<_, _>>()?;
    sandbox::ensure_image(&flags.sandbox, &worlds.iter().collect::<Vec<_>>(), terminal).await?;
    let style = ProgressStyle::with_template("{bar:20} {pos}/{len} {wide_msg} {elapsed}")?;
    let bar = terminal.show(ProgressBar::new(jobs.len() as u64).with_style(style));
    let grades = jobs.into_iter().map(|job| {
        let (grader, host) = (grader.clone(), host.clone());
        async move {
            let graded = grader.graded(&job.instance, &job.patch, &*host, job.force).await;
            (job, graded)
        }
    });
    let mut grades = Parallel::new(cpus(flags.jobs), grades);
    let (mut done, mut broken) = (Vec::new(), Vec::new());
    while let Some(graded) = grades.next().await {
        let (job, graded) = graded.context("a patch hit a bug in fixfly; please report it")?;
        bar.inc(1);
        match graded {
            Ok(graded) => {
                bar.set_message(format!("{} {}", graded.id, graded.word()));
                done.push(graded);
            }
            Err(error) => broken.push(format!("{}: {error}", job.instance.id)),
        }
    }
    bar.finish_and_clear();
    Ok((done, broken))
}

fn conclude(broken: &[String]) -> anyhow::Result<()> {
    match broken.first() {
        None => Ok(()),
        Some(why) => anyhow::bail!(
            "infrastructure failures prevented grading {} patches ({why}); run the same command again to retry them",
            broken.len()
        ),
    }
}

/// One line per instance, and the total.
fn summary(dataset: &[String], given: &[Prediction], graded: &BTreeMap<String, Graded>) -> String {
    let mut text = String::new();
    for id in dataset {
        let word = match (graded.get(id), given.iter().any(|prediction| prediction.id == *id)) {
            (Some(graded), _) => graded.word(),
            (None, true) => "no patch",
            (None, false) => continue,
        };
        let seconds = graded
            .get(id)
            .and_then(|graded| graded.evaluation.as_ref())
            .map_or(0.0, |seen| seen.seconds);
        text += &format!("{id:<40} {word:<15} {seconds:6.1} s\n");
        for why in graded.get(id).iter().flat_map(|graded| graded.disagreements.iter().take(5)) {
            text += &format!("    {why}\n");
        }
        if let Some(how) = graded.get(id).and_then(|graded| graded.tampering.as_ref()) {
            text += &format!("    tampering: {how}\n");
        }
    }
    let resolved = graded.values().filter(|graded| graded.resolved()).count();
    let of = dataset.len();
    text + &format!(
        "resolved {resolved} of {of} ({:.1} %), {} submitted\n",
        100.0 * resolved as f64 / of as f64,
        given.len()
    )
}
