//! `fixfly bench build faults`: single faults in short methods, validated by
//! running the methods' tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, value_parser};
use fixfly_benchmarks::faults::{Amount, Faults, Header, Validation, folder};
use fixfly_sandboxes::Pool;

use crate::failure::Interrupted;
use crate::flags::{cpus, host};
use crate::terminal::Terminal;
use crate::threads::on_threads;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly bench build faults
  fixfly bench build faults --source python --source-dir benchmarks/mine -o benchmarks/mine-faults
  fixfly run faults --policy oracle --limit 20 -o runs/oracle

An item is a short method with one fault that its tests catch and that changing
one line fixes. In the split train, --train-methods methods have one such fault
each. Faults of the other training methods, and of methods without tests, are not
run: their fixes are known, so a student can be trained on them. Ids of validated
faults contain a `#`, ids of the others a `~`: `fixfly run --task-id '*#*'`. With
--renamed-copies 8, each fault that was not run has eight copies with different
names (`@1` to `@8`), so that a student learns to fix faults rather than names.
Run the same command again to resume a stopped build.")]
pub(crate) struct Flags {
    /// Benchmark to take methods from: django or python
    #[arg(long, value_name = "BENCHMARK", default_value = "django", value_parser = ["django", "python"])]
    source: String,

    /// Directory of that benchmark, if not the default
    #[arg(long, value_name = "DIR")]
    source_dir: Option<PathBuf>,

    /// Benchmark directory to write, if not the default
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Maximum length of a method, in characters
    #[arg(long, value_name = "N", default_value_t = 480)]
    max_chars: usize,

    /// Number of faults to validate for each method of the splits validation and benchmark
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u32).range(1..))]
    per_method: u32,

    /// Number of methods of the split train to validate one fault of
    #[arg(long, value_name = "N", default_value_t = 400)]
    train_methods: usize,

    /// Maximum number of faults of each method of the split train; the first may be validated
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u32).range(1..))]
    train_per_method: u32,

    /// Number of copies with different names of each fault that is not validated
    #[arg(long, value_name = "N", default_value_t = 0)]
    renamed_copies: u32,

    /// Number of sandboxes to use in parallel [default: number of CPUs]
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
}

pub(crate) fn build(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let folder = flags.output.clone().unwrap_or_else(folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let source_dir = flags.source_dir.as_deref().map(Path::canonicalize).transpose();
    let source_dir = source_dir.with_context(|| format!("cannot find {:?}", flags.source_dir))?;
    let header = Header::new(&flags.source, source_dir, flags.max_chars);
    let all = Faults::all(header, flags.train_per_method as usize)?;
    let amount = Amount { per_method: flags.per_method, train_methods: flags.train_methods };
    let mut validation = Validation::new(all, amount);
    on_threads(async {
        let stop = tokio::signal::ctrl_c();
        tokio::select! {
            validated = validate(&mut validation, flags, &folder, terminal) => validated,
            _ = stop => Err(Interrupted("stopped; run the same command again to resume".into()).into()),
        }
    })?;
    let kept = validation.kept(flags.renamed_copies);
    validation.write(&folder, &kept)?;
    terminal.print(&validation.summary(&folder, &kept))
}

/// Validates the faults without a recorded outcome.
async fn validate(
    validation: &mut Validation,
    flags: &Flags,
    folder: &Path,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let file = folder.join("tried.jsonl");
    validation.resume(&file)?;
    let to_do = validation.to_do();
    let style = "faults {wide_bar} {pos}/{len}  {elapsed} elapsed, ETA {eta}";
    let bar = terminal.bar(style, to_do.len())?;
    let jobs = cpus(flags.jobs);
    let pool = Arc::new(Pool::new(host("local", &[])?, jobs));
    validation.run(to_do, (pool.clone(), jobs), &file, || bar.inc(1)).await?;
    bar.finish_and_clear();
    pool.drain().await.context("cannot close a sandbox")
}
