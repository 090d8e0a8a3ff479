//! `fixfly bench build faults`: single faults in short methods, validated by
//! running the methods' tests.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, value_parser};
use fixfly_benchmarks::faults::{Fault, Faults, Header, folder};
use fixfly_runtime::{BenchmarkError, Outcome, Parallel, Split};
use fixfly_sandboxes::Pool;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::build::{host, left_out, on_threads};
use super::evaluate;
use crate::failure::Interrupted;
use crate::flags::cpus;
use crate::terminal::Terminal;

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

    /// Number of copies with different names of each fault that is not validated
    #[arg(long, value_name = "N", default_value_t = 0)]
    renamed_copies: u32,

    /// Number of sandboxes to use in parallel [default: number of CPUs]
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
}

/// The outcome of a validated fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Validated {
    id: String,
    hash: String,
    outcome: Outcome,
}

pub(crate) fn build(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let folder = flags.output.clone().unwrap_or_else(folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let source_dir = flags.source_dir.as_deref().map(Path::canonicalize).transpose();
    let source_dir = source_dir.with_context(|| format!("cannot find {:?}", flags.source_dir))?;
    let all = Arc::new(Faults::all(Header::new(&flags.source, source_dir, flags.max_chars))?);
    let chosen = chosen(&all, flags);
    let known = on_threads(async {
        let stop = tokio::signal::ctrl_c();
        tokio::select! {
            known = validate_all(&all, &chosen, flags, &folder, terminal) => known,
            _ = stop => Err(Interrupted("stopped; run the same command again to resume".into()).into()),
        }
    })?;
    let kept = kept(all.faults(), &chosen, &known, flags.renamed_copies);
    all.write(&folder, &kept)?;
    terminal.print(&summary(&folder, &kept, &chosen, &known))
}

/// The faults to validate: the first ones of each method.
fn chosen(all: &Faults, flags: &Flags) -> HashSet<String> {
    let mut of: HashMap<&str, u32> = HashMap::new();
    let mut to_learn = 0;
    let mut chosen = HashSet::new();
    for fault in all.faults().iter().filter(|fault| all.has_tests(fault)) {
        let before = of.entry(fault.of()).or_default();
        let wanted = match fault.split {
            Split::Train => *before == 0 && to_learn < flags.train_methods,
            Split::Validation | Split::Benchmark => *before < flags.per_method,
        };
        *before += 1;
        if wanted {
            to_learn += usize::from(fault.split == Split::Train);
            chosen.insert(fault.id.clone());
        }
    }
    chosen
}

/// Validates the faults without a recorded outcome and records each outcome at once.
async fn validate_all(
    all: &Arc<Faults>,
    chosen: &HashSet<String>,
    flags: &Flags,
    folder: &Path,
    terminal: &Terminal,
) -> anyhow::Result<HashMap<String, Outcome>> {
    let file = folder.join("tried.jsonl");
    let unwritten = || format!("cannot write {}", file.display());
    let mut known = read(&file, all.faults())?;
    let mut out =
        OpenOptions::new().create(true).append(true).open(&file).with_context(unwritten)?;
    let is_to_do = |fault: &&Fault| chosen.contains(&fault.id) && !known.contains_key(&fault.id);
    let mut to_do: Vec<&Fault> = all.faults().iter().filter(is_to_do).collect();
    // A sandbox keeps the fixtures of one file's tests for a while.
    to_do.sort_by(|one, other| one.id.cmp(&other.id));
    let style = "faults {wide_bar} {pos}/{len}  {elapsed} elapsed, ETA {eta}";
    let bar = ProgressBar::new(to_do.len() as u64).with_style(ProgressStyle::with_template(style)?);
    let bar = terminal.show(bar);
    let jobs = cpus(flags.jobs);
    let pool = Arc::new(Pool::new(host()?, jobs));
    let validations =
        to_do.into_iter().map(|fault| validate(all.clone(), pool.clone(), fault.clone()));
    let mut validations = Parallel::new(jobs, validations);
    while let Some(validated) = validations.next().await {
        let validated = validated.context("a fault hit a bug in fixfly; please report it")??;
        writeln!(out, "{}", serde_json::to_string(&validated)?).with_context(unwritten)?;
        known.insert(validated.id, validated.outcome);
        bar.inc(1);
    }
    bar.finish_and_clear();
    pool.drain().await.context("cannot close a sandbox")?;
    Ok(known)
}

/// Runs a method's tests on the method with this fault.
async fn validate(
    all: Arc<Faults>,
    pool: Arc<Pool>,
    fault: Fault,
) -> Result<Validated, BenchmarkError> {
    let task = all.task(&fault)?;
    let faulty = task.statement.method().and_then(|method| method.faulty.as_deref());
    let observed = evaluate(&pool, &*all, &task, faulty.unwrap_or_default()).await?;
    let Fault { id, hash, .. } = fault;
    Ok(Validated { id, hash, outcome: observed.outcome })
}

/// The outcomes that an earlier build recorded for the same faults. A truncated last
/// line is ignored.
fn read(file: &Path, faults: &[Fault]) -> anyhow::Result<HashMap<String, Outcome>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(why) => return Err(why).with_context(|| format!("cannot read {}", file.display())),
    };
    let hashes: HashMap<&str, &str> =
        faults.iter().map(|fault| (&*fault.id, &*fault.hash)).collect();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Validated>(line).ok());
    let same = lines.filter(|validated| hashes.get(&*validated.id) == Some(&&*validated.hash));
    Ok(same.map(|validated| (validated.id, validated.outcome)).collect())
}

/// The validated faults, followed by those for training only. The latter are in
/// other methods, so that a student trained on them has not seen the former.
fn kept(
    faults: &[Fault],
    chosen: &HashSet<String>,
    known: &HashMap<String, Outcome>,
    copies: u32,
) -> Vec<Fault> {
    let noticed = |fault: &&Fault| {
        chosen.contains(&fault.id) && known.get(&fault.id) == Some(&Outcome::Failed)
    };
    let validated = faults.iter().filter(noticed).map(Fault::noticed);
    let is_chosen = |fault: &&Fault| chosen.contains(&fault.id);
    let theirs: HashSet<&str> = faults.iter().filter(is_chosen).map(Fault::of).collect();
    let is_for_training =
        |fault: &&Fault| fault.split == Split::Train && !theirs.contains(fault.of());
    let for_training = faults.iter().filter(is_for_training);
    let with_copies = for_training.flat_map(|fault| {
        let others = (1..=copies).map(|names| fault.renamed(names));
        [fault.clone()].into_iter().chain(others)
    });
    validated.chain(with_copies).collect()
}

fn summary(
    folder: &Path,
    kept: &[Fault],
    chosen: &HashSet<String>,
    known: &HashMap<String, Outcome>,
) -> String {
    let mut text = format!("Benchmark directory: {}\n", folder.display());
    for split in Split::ALL {
        let of = |fault: &&Fault| fault.split == split;
        let count = kept.iter().filter(of).filter(|fault| fault.is_noticed()).count();
        let unvalidated = kept.iter().filter(of).count() - count;
        let more = match unvalidated {
            0 => String::new(),
            some => format!(", and {some} for training only"),
        };
        text += &format!("  {:10} {count:5} faults caught by tests{more}\n", split.name());
    }
    let mut reasons = BTreeMap::<String, usize>::new();
    for outcome in chosen.iter().filter_map(|id| known.get(id)) {
        let why = match outcome {
            Outcome::Failed => continue,
            Outcome::Passed => "no test catches it".to_string(),
            other => format!("its tests end with: {other:?}"),
        };
        *reasons.entry(why).or_default() += 1;
    }
    text + &left_out(&reasons)
}
