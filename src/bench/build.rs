//! `fixfly bench build`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clap::{Args, Subcommand, ValueEnum, value_parser};
use fixfly_benchmarks::build::{self, Environment, Plan, Progress, Rate, Since, summary};
use fixfly_benchmarks::{Project, Source, django};
use fixfly_runtime::Split;

use super::faults;
use crate::config;
use crate::failure::Usage;
use crate::flags::{cpus, host, split};
use crate::terminal::Terminal;
use crate::threads::on_threads;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Django 5.2: fetch the pinned release and create its environment
    Django(Django),
    /// Any Python project with tests: find the code that its tests specify
    Python(Python),
    /// Single faults in short methods of another benchmark
    Faults(faults::Flags),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly bench build django
  fixfly bench build django --archive Django-5.2.19.tar.gz
  fixfly bench build django --from-scratch --jobs 8

fixfly ships the items of the pinned release. --from-scratch finds them again,
which takes CPU-hours. Run the same command again to resume a stopped build.")]
pub(crate) struct Django {
    /// Benchmark directory, if not the default
    #[arg(long, value_name = "DIR")]
    benchmark_dir: Option<PathBuf>,

    /// Source archive to use instead of downloading it
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,

    /// Find the items again: census, mutants, splits
    #[arg(long)]
    from_scratch: bool,

    /// Keep the items shipped with fixfly and examine the remaining methods
    #[arg(long, conflicts_with = "from_scratch")]
    extend: bool,

    /// With --from-scratch or --extend: examine only these splits
    #[arg(long, value_name = "SPLIT", value_parser = split, value_delimiter = ',')]
    splits: Vec<Split>,

    /// Number of sandboxes to use in parallel [default: number of CPUs]
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly bench build python --repo ~/code/mine -o benchmarks/mine
  fixfly bench build python --repo sqlparse-0.5.3.tar.gz -o benchmarks/sqlparse
  fixfly bench build python --repo . --tests unittest --install 'numpy<3' -o benchmarks/mine
  fixfly bench build python --repo . --since HEAD~5 --files src -o benchmarks/mine
  fixfly run python --benchmark-dir benchmarks/mine --policy retrieval -o runs/mine")]
pub(crate) struct Python {
    /// The project: a folder, or a .tar.gz source archive
    #[arg(long, value_name = "PATH")]
    repo: PathBuf,

    /// Benchmark directory to write or resume
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Test framework
    #[arg(long, default_value = "pytest")]
    tests: Tests,

    /// Extra or dependency group that the project's tests need [default: those
    /// named test, tests or testing, else dev]
    #[arg(long, value_name = "EXTRA")]
    extra: Vec<String>,

    /// Additional requirement, in pip's syntax
    #[arg(long, value_name = "REQUIREMENT")]
    install: Vec<String>,

    /// Files or folders to take items from, as patterns; `*` also matches `/`
    #[arg(long, value_name = "GLOB")]
    files: Vec<String>,

    /// Examine only what changed since this commit; keep the other items
    #[arg(long, value_name = "COMMIT")]
    since: Option<String>,

    /// Hide copies of an item's body in its own file from prompts
    #[arg(long)]
    mask_copies: bool,

    /// Make items of N functions and methods of one file each, to write in one answer
    /// [default: of one]
    #[arg(long, value_name = "N", value_parser = span, conflicts_with = "since")]
    span: Option<usize>,

    /// Number of sandboxes to use in parallel [default: number of CPUs]
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
}

/// How many functions and methods an item may have.
fn span(text: &str) -> Result<usize, String> {
    const MOST: usize = 8;
    match text.parse() {
        Ok(1) => Err("items of one function or method are the default: leave it out".into()),
        Ok(span @ 2..=MOST) => Ok(span),
        _ => Err(format!("it must be a number from 2 to {MOST}")),
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Tests {
    Pytest,
    Unittest,
}

impl Tests {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Tests::Pytest => "pytest",
            Tests::Unittest => "unittest",
        }
    }
}

pub(crate) fn build(command: &Command, terminal: &Terminal) -> anyhow::Result<()> {
    match command {
        Command::Django(flags) => build_django(flags, terminal),
        Command::Python(flags) => build_python(flags, terminal),
        Command::Faults(flags) => faults::build(flags, terminal),
    }
}

/// The command that builds the benchmark of that name, with flags by name.
pub(crate) fn command(name: &str, flags: &toml::Table) -> Result<Command, Usage> {
    let verb = format!("bench build {name}");
    Ok(match name {
        "django" => Command::Django(config::flags(&verb, flags)?),
        "python" => Command::Python(config::flags(&verb, flags)?),
        "faults" => Command::Faults(config::flags(&verb, flags)?),
        _ => return Err(Usage(format!("there is no `fixfly bench build {name}`"))),
    })
}

fn build_django(flags: &Django, terminal: &Terminal) -> anyhow::Result<()> {
    let folder = flags.benchmark_dir.clone().unwrap_or_else(django::folder);
    terminal.status(&format!(
        "fetching Django {} into {}",
        django::source().version,
        folder.display()
    ));
    let project = django::fetch(&folder, flags.archive.as_deref())?;
    if !flags.from_scratch && !flags.extend {
        let project = Arc::new(project);
        on_threads(build::warm(project, host("local", &[])?))?;
        return terminal.print(&summary(&folder, &django::shipped()?));
    }
    let splits = match flags.splits.is_empty() {
        true => Split::ALL.to_vec(),
        false => flags.splits.clone(),
    };
    let plan = Plan {
        benchmark: "django".to_string(),
        source: django::source(),
        wanted: Some(django::ITEMS),
        jobs: cpus(flags.jobs),
        splits,
        known: if flags.extend { django::shipped()?.items } else { Vec::new() },
        ..Plan::default()
    };
    examine(project, &plan, &folder, terminal)
}

fn build_python(flags: &Python, terminal: &Terminal) -> anyhow::Result<()> {
    let source: Source = build::python_project(&flags.output, &flags.repo)?;
    let since = flags.since.as_ref().map(|commit| Since::read(&flags.repo, commit, &flags.output));
    let (since, known) = since.transpose()?.unzip();
    let framework = flags.tests.name();
    let mut more = flags.install.clone();
    more.extend((framework == "pytest").then(|| framework.to_string()));
    terminal.status("creating the Python environment");
    let wanted = Environment::Declared { extras: &flags.extra, more: &more };
    for note in build::environment(&flags.output, &wanted)? {
        terminal.status(&note);
    }
    let project = Project::open(&flags.output, framework)?;
    let plan = Plan {
        benchmark: "python".to_string(),
        source,
        jobs: cpus(flags.jobs),
        splits: Split::ALL.to_vec(),
        known: known.unwrap_or_default(),
        files: flags.files.clone(),
        since,
        mask_copies: flags.mask_copies,
        span: flags.span,
        ..Plan::default()
    };
    examine(project, &plan, &flags.output, terminal)
}

fn examine(
    project: Project,
    plan: &Plan,
    folder: &Path,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let bar = terminal.line_bar(0, 0);
    let watched = terminal.is_watched();
    let rate = Mutex::new(Rate::default());
    let show = |progress: Progress| {
        let line = rate.lock().unwrap_or_else(PoisonError::into_inner).line(&progress);
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(&line);
        if !watched && (progress.done.is_multiple_of(25) || progress.done == progress.total) {
            terminal.status(&line);
        }
    };
    let host = host("local", &[])?;
    let framework = project.framework.clone();
    on_threads(build::warm(Arc::new(project), host.clone()))?;
    let project = Project::open(folder, &framework)?;
    let manifest = on_threads(async {
        let project = Arc::new(project);
        let stop = tokio::signal::ctrl_c();
        tokio::select! {
            built = build::build(project, host, plan, show) => built.map_err(anyhow::Error::from),
            _ = stop => Err(crate::failure::Interrupted(
                "stopped; results so far are saved, run the same command again to resume".to_string(),
            ).into()),
        }
    })?;
    bar.finish_and_clear();
    terminal.print(&summary(folder, &manifest))
}
