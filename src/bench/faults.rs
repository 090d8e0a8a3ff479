//! `fixfly bench build faults`: one fault in each of many short methods, tried
//! by running their tests.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, value_parser};
use fixfly_benchmarks::faults::{Fault, Faults, Header, folder};
use fixfly_runtime::{BenchmarkError, Outcome, Split};
use fixfly_sandboxes::Pool;
use futures::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::build::{host, left_out, on_threads};
use super::evaluate;
use crate::failure::Interrupted;
use crate::run::cpus;
use crate::terminal::{Terminal, print};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly bench build faults
  fixfly bench build faults --of python --of-dir benchmarks/mine -o benchmarks/mine-faults
  fixfly run faults --policy oracle --limit 20 -o runs/oracle

An item is a short method with one fault that its tests notice and that one line
mends. Of the methods to learn from, --tried have one such fault each. Faults of
the others, and of methods without tests, are there untried: what mends them is
known, and they can be learned from without being run. Tasks of the first have a
`#` in their names, of the second a `~`: `fixfly run --only '*#*'`. With --renamed 8
each of the second is there eight times more, each time with other names in place
of its own (`@1` to `@8`), so that what is learned is to mend and not the names.
The same command continues a build that was stopped.")]
pub(crate) struct Flags {
    /// Whose methods: django or python
    #[arg(long, value_name = "BENCHMARK", default_value = "django", value_parser = ["django", "python"])]
    of: String,

    /// Folder of that benchmark, if it is not in its usual place
    #[arg(long, value_name = "DIR")]
    of_dir: Option<PathBuf>,

    /// Folder to write, if not the usual one
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Characters of a method at most
    #[arg(long, value_name = "N", default_value_t = 480)]
    longest: usize,

    /// Faults of a method to run, in the splits validation and benchmark
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u32).range(1..))]
    each: u32,

    /// Methods of the split train of which one fault is tried
    #[arg(long, value_name = "N", default_value_t = 400)]
    tried: usize,

    /// Times that each untried fault is there with other names in place of its own
    #[arg(long, value_name = "N", default_value_t = 0)]
    renamed: u32,

    /// Sandboxes to work in at once; as many as there are processors if not given
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,
}

/// What became of a fault that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Tried {
    id: String,
    hash: String,
    outcome: Outcome,
}

pub(crate) fn build(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let folder = flags.output.clone().unwrap_or_else(folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let of_dir = flags.of_dir.as_deref().map(Path::canonicalize).transpose();
    let of_dir = of_dir.with_context(|| format!("there is no {:?}", flags.of_dir))?;
    let all = Faults::all(Header::new(&flags.of, of_dir, flags.longest))?;
    let chosen = chosen(&all, flags);
    let known = on_threads(async {
        let stop = tokio::signal::ctrl_c();
        tokio::select! {
            known = try_all(&all, &chosen, flags, &folder, terminal) => known,
            _ = stop => Err(Interrupted("stopped; the same command continues".into()).into()),
        }
    })?;
    let kept = kept(all.faults(), &chosen, &known, flags.renamed);
    let text = summary(&folder, &kept, &chosen, &known);
    all.with(kept).write(&folder)?;
    print(&text)
}

/// The faults to try: the first ones of each method.
fn chosen(all: &Faults, flags: &Flags) -> HashSet<String> {
    let mut of: HashMap<&str, u32> = HashMap::new();
    let mut to_learn = 0;
    let mut chosen = HashSet::new();
    for fault in all.faults().iter().filter(|fault| all.has_tests(fault)) {
        let before = of.entry(fault.of()).or_default();
        let wanted = match fault.split {
            Split::Train => *before == 0 && to_learn < flags.tried,
            Split::Validation | Split::Benchmark => *before < flags.each,
        };
        *before += 1;
        if wanted {
            to_learn += usize::from(fault.split == Split::Train);
            chosen.insert(fault.id.clone());
        }
    }
    chosen
}

/// Tries what is not known yet; what is found is kept at once.
async fn try_all(
    all: &Faults,
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
    // What the tests of one file need stays set up in a sandbox for a while.
    to_do.sort_by(|one, other| one.id.cmp(&other.id));
    let style = "faults {wide_bar} {pos}/{len}  {elapsed} gone, {eta} to go";
    let bar = ProgressBar::new(to_do.len() as u64).with_style(ProgressStyle::with_template(style)?);
    let bar = terminal.show(bar);
    let jobs = cpus(flags.jobs);
    let pool = Pool::new(host()?, jobs);
    let trials = to_do.into_iter().map(|fault| tried(all, &pool, fault));
    let mut trials = stream::iter(trials).buffer_unordered(jobs);
    while let Some(tried) = trials.next().await.transpose()? {
        writeln!(out, "{}", serde_json::to_string(&tried)?).with_context(unwritten)?;
        known.insert(tried.id, tried.outcome);
        bar.inc(1);
    }
    drop(trials);
    bar.finish_and_clear();
    pool.drain().await.context("a sandbox remains")?;
    Ok(known)
}

/// What the tests say of the method as it stands.
async fn tried(all: &Faults, pool: &Pool, fault: &Fault) -> Result<Tried, BenchmarkError> {
    let task = all.task(fault)?;
    let faulty = task.statement.method().and_then(|method| method.faulty.as_deref());
    let observed = evaluate(pool, all, &task, faulty.unwrap_or_default()).await?;
    let Fault { id, hash, .. } = fault.clone();
    Ok(Tried { id, hash, outcome: observed.outcome })
}

/// What an earlier build found of the same faults. A torn last line is tried again.
fn read(file: &Path, faults: &[Fault]) -> anyhow::Result<HashMap<String, Outcome>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(why) => return Err(why).with_context(|| format!("cannot read {}", file.display())),
    };
    let hashes: HashMap<&str, &str> =
        faults.iter().map(|fault| (&*fault.id, &*fault.hash)).collect();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Tried>(line).ok());
    let same = lines.filter(|tried| hashes.get(&*tried.id) == Some(&&*tried.hash));
    Ok(same.map(|tried| (tried.id, tried.outcome)).collect())
}

/// What can be worked on, and after it what can only be learned from: of other
/// methods, so that these are new to whoever learned from those.
fn kept(
    faults: &[Fault],
    chosen: &HashSet<String>,
    known: &HashMap<String, Outcome>,
    renamed: u32,
) -> Vec<Fault> {
    let noticed = |fault: &&Fault| {
        chosen.contains(&fault.id) && known.get(&fault.id) == Some(&Outcome::Failed)
    };
    let tried = faults.iter().filter(noticed).map(Fault::noticed);
    let is_chosen = |fault: &&Fault| chosen.contains(&fault.id);
    let theirs: HashSet<&str> = faults.iter().filter(is_chosen).map(Fault::of).collect();
    let is_untried = |fault: &&Fault| fault.split == Split::Train && !theirs.contains(fault.of());
    let untried = faults.iter().filter(is_untried);
    let named = untried.flat_map(|fault| {
        let others = (1..=renamed).map(|names| fault.renamed(names));
        [fault.clone()].into_iter().chain(others)
    });
    tried.chain(named).collect()
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
        let untried = kept.iter().filter(of).count() - count;
        let more = match untried {
            0 => String::new(),
            some => format!(", and {some} to learn from untried"),
        };
        text += &format!("  {:10} {count:5} faults that tests notice{more}\n", split.name());
    }
    let mut reasons = BTreeMap::<String, usize>::new();
    for outcome in chosen.iter().filter_map(|id| known.get(id)) {
        let why = match outcome {
            Outcome::Failed => continue,
            Outcome::Passed => "no test notices it".to_string(),
            other => format!("its tests end by: {other:?}"),
        };
        *reasons.entry(why).or_default() += 1;
    }
    text + &left_out(&reasons)
}
