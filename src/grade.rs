//! `fixfly grade`: grades patches by the official rules.

mod gold;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand, value_parser};
use fixfly_benchmarks::swebench::spec::Specs;
use fixfly_benchmarks::swebench::{
    Graded, Grader, Grades, HarnessRun, Instance, Job, Prediction, Table, UnreadableRow, prediction,
};
use fixfly_runtime::{Host, SandboxSpec};
use fixfly_sandboxes::DOCKER_HOST_HELP;

use crate::failure::Usage;
use crate::flags::{choices, cpus, host};
use crate::terminal::{Terminal, print};
use crate::threads::on_threads;
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
    /// Predictions: JSON lines, JSON, CSV or Parquet; or the word `gold`
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

    #[arg(long, hide_short_help = true, value_name = "URL", help = DOCKER_HOST_HELP)]
    docker_host: Vec<String>,

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
    match (flags.gold, flags.rewrite_reports) {
        (true, _) => on_threads(gold::check(flags, terminal)),
        (_, true) => rewrite_reports(flags),
        _ => on_threads(predictions(flags, terminal)),
    }
}

async fn predictions(flags: &Swebench, terminal: &Terminal) -> anyhow::Result<()> {
    let instances = flags.issues.selected()?;
    let (run, unreadable) = harness_run(flags, &instances)?;
    let host = host(&flags.sandbox, &flags.docker_host)?;
    let grader = flags.issues.open(run.with_patch(&instances), &*host, terminal).await?;
    let grader = Arc::new(grader);
    let (jobs, dropped) = grader.jobs(&run.predictions, (flags.clean, flags.force))?;
    dropped.iter().for_each(|path| terminal.status(path));
    let Grades { graded, failures } = all(flags, &grader, &host, jobs.clone(), terminal).await?;
    let graded: BTreeMap<String, Graded> =
        graded.into_iter().map(|graded| (graded.id.clone(), graded)).collect();
    run.write_logs(&jobs, &graded)?;
    run.write_report(&graded)?;
    print(&run.summary(&graded, &unreadable))?;
    conclude(&failures, &unreadable)
}

/// `--rewrite-reports`: grades existing logs of any harness.
fn rewrite_reports(flags: &Swebench) -> anyhow::Result<()> {
    let instances = flags.issues.selected()?;
    let specs = Specs::load(flags.issues.spec().specs.as_deref())?;
    let (run, unreadable) = harness_run(flags, &instances)?;
    let graded = run.rewrite_reports(&instances, &specs)?;
    run.write_report(&graded)?;
    print(&run.summary(&graded, &unreadable))?;
    conclude(&[], &unreadable)
}

/// The run, and the predictions that could not be read.
fn harness_run(
    flags: &Swebench,
    instances: &[Instance],
) -> anyhow::Result<(HarnessRun, Vec<UnreadableRow>)> {
    let Table { rows: predictions, unreadable } = given(flags, instances)?;
    let run = HarnessRun {
        output: flags.output.clone(),
        name: flags.run_id.clone(),
        dataset: instances.iter().map(|instance| instance.id.clone()).collect(),
        predictions,
        rules: flags.issues.spec().rules,
    };
    Ok((run, unreadable))
}

/// The predictions for the selected instances.
fn given(flags: &Swebench, instances: &[Instance]) -> anyhow::Result<Table<Prediction>> {
    let file = flags.predictions.clone().unwrap_or_default();
    if file.as_os_str() == "gold" {
        return Ok(Table { rows: prediction::gold(instances), unreadable: Vec::new() });
    }
    let Table { rows: mut given, mut unreadable } = prediction::read(&file)?;
    let all = given.len();
    let is_selected = |id: &str| instances.iter().any(|instance| instance.id == id);
    given.retain(|prediction| is_selected(&prediction.id));
    unreadable.retain(|row| row.id.as_deref().is_none_or(is_selected));
    let table = Table { rows: given, unreadable };
    table.warn();
    if table.rows.is_empty() {
        let sentence =
            format!("{}: none of its {all} predictions is for a selected instance", file.display());
        return Err(Usage(sentence).into());
    }
    if table.rows.len() < all {
        tracing::warn!(
            "ignoring {} of {all} predictions: their instances are not selected",
            all - table.rows.len()
        );
    }
    Ok(table)
}

/// Grades all patches in parallel.
async fn all(
    flags: &Swebench,
    grader: &Arc<Grader>,
    host: &Arc<dyn Host>,
    jobs: Vec<Job>,
    terminal: &Terminal,
) -> anyhow::Result<Grades> {
    let worlds: Vec<SandboxSpec> =
        jobs.iter().map(|job| grader.sandbox(&job.instance)).collect::<Result<_, _>>()?;
    sandbox::ensure_image(
        (&flags.sandbox, &flags.docker_host),
        &worlds.iter().collect::<Vec<_>>(),
        terminal,
    )
    .await?;
    let bar = terminal.bar("{bar:20} {pos}/{len} {wide_msg} {elapsed}", jobs.len())?;
    let finished = |graded: Option<&Graded>| {
        bar.inc(1);
        if let Some(graded) = graded {
            bar.set_message(format!("{} {}", graded.id, graded.word()));
        }
    };
    let grades = grader.grade_all(host, (jobs, cpus(flags.jobs)), finished).await?;
    bar.finish_and_clear();
    Ok(grades)
}

fn conclude(broken: &[String], unreadable: &[UnreadableRow]) -> anyhow::Result<()> {
    match (broken.first(), unreadable.first()) {
        (None, None) => Ok(()),
        (None, Some(row)) => anyhow::bail!(
            "{} predictions could not be read, and are not graded ({})",
            unreadable.len(),
            row.why
        ),
        (Some(why), _) => anyhow::bail!(
            "infrastructure failures prevented grading {} patches ({why}); run the same command again to retry them",
            broken.len()
        ),
    }
}
