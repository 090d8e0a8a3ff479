//! Validates faults by running the methods' tests, and selects those that are kept.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::sync::Arc;

use fixfly_runtime::{BenchmarkError, Host, Outcome, Parallel, Split};
use serde::{Deserialize, Serialize};

use super::{Fault, Faults};
use crate::build::left_out;
use crate::manifest::line;
use crate::methods::evaluate;

/// How many faults to validate.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// For each method of the splits validation and benchmark.
    pub per_method: u32,
    /// Methods of the split train, of each of which one fault is validated.
    pub train_methods: usize,
}

/// The faults of a benchmark, those to validate, and the outcomes so far.
pub struct Validation {
    all: Arc<Faults>,
    chosen: HashSet<String>,
    known: HashMap<String, Outcome>,
}

/// The outcome of a validated fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Validated {
    id: String,
    hash: String,
    outcome: Outcome,
}

impl Validation {
    /// Chooses the faults to validate: the first ones of each method.
    pub fn new(all: Faults, amount: Amount) -> Validation {
        let chosen = chosen(&all, amount);
        Validation { all: Arc::new(all), chosen, known: HashMap::new() }
    }

    /// Takes the outcomes that an earlier validation recorded in `file` for the same
    /// faults. A truncated last line is ignored.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn resume(&mut self, file: &Path) -> Result<(), BenchmarkError> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(why) if why.kind() == ErrorKind::NotFound => String::new(),
            Err(why) => {
                return Err(BenchmarkError::Broken(format!(
                    "cannot read {}: {why}",
                    file.display()
                )));
            }
        };
        let faults = self.all.faults().iter();
        let hashes: HashMap<&str, &str> = faults.map(|fault| (&*fault.id, &*fault.hash)).collect();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Validated>(line).ok());
        let same = lines.filter(|validated| hashes.get(&*validated.id) == Some(&&*validated.hash));
        self.known = same.map(|validated| (validated.id, validated.outcome)).collect();
        Ok(())
    }

    /// The chosen faults that have no outcome yet.
    pub fn to_do(&self) -> Vec<Fault> {
        let is_to_do =
            |fault: &&Fault| self.is_chosen(fault) && !self.known.contains_key(&fault.id);
        let mut to_do: Vec<Fault> = self.all.faults().iter().filter(is_to_do).cloned().collect();
        // A sandbox keeps the fixtures of one file's tests for a while.
        to_do.sort_by(|one, other| one.id.cmp(&other.id));
        to_do
    }

    /// Validates faults, `jobs` at a time, and records each outcome in `file` at once.
    /// `validated` is called after each.
    ///
    /// # Errors
    /// [`BenchmarkError`] if tests could not be run, or an outcome not recorded.
    pub async fn run(
        &mut self,
        to_do: Vec<Fault>,
        (host, jobs): (Arc<dyn Host>, usize),
        file: &Path,
        mut validated: impl FnMut(),
    ) -> Result<(), BenchmarkError> {
        let unwritten =
            |why| BenchmarkError::Broken(format!("cannot write {}: {why}", file.display()));
        let mut out = OpenOptions::new().create(true).append(true).open(file).map_err(unwritten)?;
        let all = self.all.clone();
        let validations =
            to_do.into_iter().map(move |fault| validate(all.clone(), host.clone(), fault));
        let mut validations = Parallel::new(jobs, validations);
        while let Some(done) = validations.next().await {
            let done = done.map_err(BenchmarkError::bug("a fault"))??;
            out.write_all(line(&done).as_bytes()).map_err(unwritten)?;
            self.known.insert(done.id, done.outcome);
            validated();
        }
        Ok(())
    }

    /// The validated faults, followed by those for training only, each with `copies`
    /// renamed copies. The latter are in other methods, so that a student trained on them
    /// has not seen the former.
    pub fn kept(&self, copies: u32) -> Vec<Fault> {
        let faults = self.all.faults();
        let noticed = |fault: &&Fault| {
            self.is_chosen(fault) && self.known.get(&fault.id) == Some(&Outcome::Failed)
        };
        let validated = faults.iter().filter(noticed).map(Fault::noticed);
        let theirs: HashSet<&str> =
            faults.iter().filter(|fault| self.is_chosen(fault)).map(Fault::of).collect();
        let is_for_training =
            |fault: &&Fault| fault.split == Split::Train && !theirs.contains(fault.of());
        let for_training = faults.iter().filter(is_for_training);
        let with_copies = for_training.flat_map(|fault| {
            let others = (1..=copies).map(|names| fault.renamed(names));
            [fault.clone()].into_iter().chain(others)
        });
        validated.chain(with_copies).collect()
    }

    /// Writes the manifest with these of the faults to a folder, atomically.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn write(&self, folder: &Path, faults: &[Fault]) -> Result<(), BenchmarkError> {
        self.all.write(folder, faults)
    }

    /// The counts of the kept faults, as text; `folder` is the benchmark directory.
    pub fn summary(&self, folder: &Path, kept: &[Fault]) -> String {
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
        text + &left_out(&self.left_out())
    }

    /// Why chosen faults are left out, and how many: their tests did not fail.
    pub fn left_out(&self) -> BTreeMap<String, usize> {
        let mut reasons = BTreeMap::<String, usize>::new();
        for outcome in self.chosen.iter().filter_map(|id| self.known.get(id)) {
            let why = match outcome {
                Outcome::Failed => continue,
                Outcome::Passed => "no test catches it".to_string(),
                other => format!("its tests end with: {other:?}"),
            };
            *reasons.entry(why).or_default() += 1;
        }
        reasons
    }

    fn is_chosen(&self, fault: &Fault) -> bool {
        self.chosen.contains(&fault.id)
    }
}

/// The faults to validate: the first ones of each method.
fn chosen(all: &Faults, amount: Amount) -> HashSet<String> {
    let mut of: HashMap<&str, u32> = HashMap::new();
    let mut to_learn = 0;
    let mut chosen = HashSet::new();
    for fault in all.faults().iter().filter(|fault| all.has_tests(fault)) {
        let before = of.entry(fault.of()).or_default();
        let wanted = match fault.split {
            Split::Train => *before == 0 && to_learn < amount.train_methods,
            Split::Validation | Split::Benchmark => *before < amount.per_method,
        };
        *before += 1;
        if wanted {
            to_learn += usize::from(fault.split == Split::Train);
            chosen.insert(fault.id.clone());
        }
    }
    chosen
}

/// Runs a method's tests on the method with this fault.
async fn validate(
    all: Arc<Faults>,
    host: Arc<dyn Host>,
    fault: Fault,
) -> Result<Validated, BenchmarkError> {
    let task = all.task(&fault)?;
    let faulty = task.statement.method().and_then(|method| method.faulty.as_deref());
    let observed = evaluate(&*host, &*all, &task, faulty.unwrap_or_default()).await?;
    let Fault { id, hash, .. } = fault;
    Ok(Validated { id, hash, outcome: observed.outcome })
}
