//! `fixfly fix`: repairs the function or method because of which a test fails.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, value_parser};
use fixfly_benchmarks::fix::{Fix, FixOptions, FixReport, NAME, Search};
use fixfly_benchmarks::repository::RepositoryOptions;
use fixfly_policies::Open;
use fixfly_runtime::{
    Benchmark, BenchmarkError, Host, RunDirectory, RunSpec, home, now, read_episodes,
    require_protections,
};

use crate::bench::build::Tests;
use crate::failure::Usage;
use crate::flags::named;
use crate::run::{self, model, otlp};
use crate::sandbox::ensure_image;
use crate::terminal::{Terminal, is_output_colored, print, print_styled};
use crate::threads::on_threads;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly fix --test tests/test_cart.py::test_total --dry-run
  fixfly fix --test tests/test_cart.py::test_total --policy openai --model gpt-4.1
  fixfly fix --tests unittest --test tests.test_cart.CartTests.test_total --policy retrieval
  fixfly fix --repo ~/code/shop --policy openai --profile qwen3-32b --budget 1 --apply

The repository is copied, and only the copy runs. The places are the functions and methods
in the traceback, then those that failing tests enter and passing tests do not. A fix passes
the failing tests, and all other tests of their files and of the place still pass. The exit
code is 0 if the tests are fixed, 1 if they are not, and 2 if there is nothing to fix.")]
pub(crate) struct Flags {
    /// Folder of a git repository. It is only read, unless --apply is given
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,

    /// Failing tests, by the framework's ids; a file or a class is all of its tests
    /// [default: all tests that fail]
    #[arg(long, value_name = "ID", num_args = 1..)]
    test: Vec<String>,

    /// Test framework
    #[arg(long, default_value = "pytest")]
    tests: Tests,

    /// Interpreter of the tests [default: the repository's .venv, $VIRTUAL_ENV, python3]
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,

    /// Policy that makes the fix: retrieval, openai or llama
    #[arg(long, default_value = "retrieval")]
    policy: String,

    /// Maximum number of places to try, the likeliest first
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..=100))]
    places: u32,

    /// Maximum number of turns in each place
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..=1000))]
    turns: u32,

    /// Print the places, and try none
    #[arg(long)]
    dry_run: bool,

    /// Write the fix to the work tree, if the file is still what the tests ran on
    #[arg(long, conflicts_with = "dry_run")]
    apply: bool,

    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,

    /// Run directory of the episodes [default: a new one in fixfly's home]
    #[arg(short, long, value_name = "RUN")]
    output: Option<PathBuf>,

    /// Sandbox of the tests: local or docker
    #[arg(long, default_value = "local", hide_short_help = true)]
    sandbox: String,

    /// Random seed
    #[arg(long, default_value_t = 0, hide_short_help = true)]
    seed: u64,

    /// Run even if the sandbox lacks a required protection on this machine. See
    /// `fixfly sandbox doctor`
    #[arg(long, env = "FIXFLY_ALLOW_WEAK", hide_env_values = true, hide_short_help = true)]
    allow_weak: bool,

    #[command(flatten)]
    model: model::Flags,
}

impl Flags {
    fn spec(&self) -> anyhow::Result<RunSpec> {
        let policy = named("policy", fixfly_policies::ALL, &self.policy)?;
        if !matches!(policy.open, Open::Examples(_) | Open::Model(_)) {
            let why = "needs the right answer or a recorded one: use retrieval, openai or llama";
            return Err(Usage(format!("the policy `{}` {why}", self.policy)).into());
        }
        let output = self.output.clone().unwrap_or_else(|| {
            let started = now().replace(':', "");
            home().join("fixes").join(format!("{started}-{}", std::process::id()))
        });
        Ok(RunSpec {
            benchmark: NAME.to_string(),
            turns: Some(self.turns),
            policy: self.policy.clone(),
            model: self.model.of_policy(&self.policy, &output, 1)?,
            sandbox: self.sandbox.clone(),
            seed: self.seed,
            output,
            allow_weak: self.allow_weak,
            until_solved: true,
            ..RunSpec::default()
        })
    }
}

pub(crate) fn fix(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let spec = flags.spec()?;
    let ended = on_threads(attempt(flags, &spec, terminal))?;
    let Some((report, not_applied)) = ended else { return Ok(()) };
    match flags.json {
        true => print(&format!("{}\n", serde_json::to_string(&report)?))?,
        false => print_styled(&report.text(is_output_colored()))?,
    }
    match (report.solved, not_applied) {
        (_, Some(why)) => Err(why.into()),
        (true, None) => Ok(()),
        (false, None) => {
            anyhow::bail!("not fixed; `fixfly show {}` shows the attempts", spec.output.display())
        }
    }
}

/// The result, and why the fix was not applied; none for a dry run.
async fn attempt(
    flags: &Flags,
    spec: &RunSpec,
    terminal: &Terminal,
) -> anyhow::Result<Option<(FixReport, Option<BenchmarkError>)>> {
    RunDirectory::check(&spec.output)?;
    let replayed = run::replayed(spec)?;
    let host = run::host(spec)?;
    if !spec.allow_weak {
        let protections = host.protections().await;
        require_protections(&spec.sandbox, &protections).map_err(|why| Usage(why.to_string()))?;
    }
    let fix = Arc::new(find(flags, &*host, terminal).await?);
    if flags.dry_run {
        match flags.json {
            true => print(&format!("{}\n", fix.list_json()))?,
            false => print(&fix.list())?,
        }
        return Ok(None);
    }
    terminal.status(fix.list().trim_end());
    let benchmark: Arc<dyn Benchmark> = fix.clone();
    let otlp = otlp::Flags::default();
    let outcome = run::attempts(spec, replayed, (host, benchmark), None, &otlp, terminal).await?;
    let episodes = read_episodes(&spec.output)?;
    let mut report = fix.report(&spec.output, &spec.policy, &episodes);
    let mut not_applied = None;
    match fix.solved(&episodes) {
        Some(episode) if flags.apply => match fix.apply(episode) {
            Ok(file) => report.applied = Some(file),
            Err(why) => not_applied = Some(why),
        },
        Some(_) => {}
        None => run::conclude(outcome, &spec.output)?,
    }
    Ok(Some((report, not_applied)))
}

async fn find(flags: &Flags, host: &dyn Host, terminal: &Terminal) -> anyhow::Result<Fix> {
    let bar = terminal.doing("copying the repository");
    let search = Search::open(FixOptions {
        repository: RepositoryOptions {
            folder: flags.repo.clone(),
            python: flags.python.clone(),
            test_command: None,
        },
        framework: flags.tests.name(),
        tests: flags.test.clone(),
        places: flags.places as usize,
    });
    bar.finish_and_clear();
    let search = search.map_err(usage)?;
    ensure_image((&flags.sandbox, &[]), &[search.sandbox()], terminal).await?;
    let bar = terminal.doing("collecting the tests");
    let found = search.find(host, &|step: &str| bar.set_message(step)).await;
    bar.finish_and_clear();
    found.map_err(usage)
}

/// What is wrong with the repository or its tests is wrong with the flags that name them.
fn usage(error: BenchmarkError) -> anyhow::Error {
    match error {
        BenchmarkError::Broken(why) => Usage(why).into(),
        error => error.into(),
    }
}
