//! Short methods of another benchmark, each with one fault to fix: a task that a student of
//! a few million parameters can learn.
//!
//! A fault is a change of one place of the method (`rules`) that its tests detect and that
//! a change of one line fixes. An answer is the whole method, or the line as it is and the
//! line as it should be. For training there are also untested faults, of methods with and
//! without tests: their fix is known from how they were made. The manifest holds facts,
//! never source text: faults are made again from the user's own copy and checked against
//! their hashes. Faults of published sets are given instead: their text lies beside the
//! source (`given`).

mod change;
mod given;
mod names;
mod odd;
mod rules;
mod truth;
mod validate;
mod wrong;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use fixfly_runtime::answer::{EditForm, repaired};
use fixfly_runtime::{
    Benchmark, BenchmarkError, Entry, Evaluator, GroundTruth, Observation, Sandbox, Split,
    Statement, Task, Verdict, home,
};
use serde::{Deserialize, Serialize};

use crate::manifest::{Item, line, short_hash, write_whole};
use crate::methods::Methods;
use crate::places::Place;
use crate::source::{self, Words};
use crate::{Open, django, python};
use change::Pair;

pub(crate) use given::FAULTY;
pub use given::Given;
pub use rules::FaultKind;
pub use validate::{Amount, Validation};

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "faults",
    about: "short methods of another benchmark with one fault each, judged by their tests",
    open: Open::Folder(|folder| Ok(Arc::new(Faults::open(folder)?))),
};

/// The file name of the manifest.
pub(crate) const MANIFEST: &str = "faults.jsonl";

/// Version of the manifest's format, and of the rules by which faults are made and renamed.
const SCHEMA: u32 = 2;

/// Maximum number of faults of a method to evaluate on.
const MOST: usize = 8;

/// Methods with at least this similarity count as the same.
const ALIKE: f64 = 0.6;

/// The first line of the manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the format.
    pub schema: u32,
    /// The benchmark of the methods: `django` or `python`.
    pub of: String,
    /// Its directory, if it is not the default; relative to the directory of the faults.
    pub of_dir: Option<PathBuf>,
    /// Maximum number of characters of a method.
    pub longest: usize,
}

impl Header {
    /// A header for methods of that benchmark with at most `longest` characters.
    pub fn new(of: &str, of_dir: Option<PathBuf>, longest: usize) -> Header {
        Header { schema: SCHEMA, of: of.into(), of_dir, longest }
    }
}

/// One fault of one method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The method's id in its benchmark, then `#`, or `~` if its tests were not run, then
    /// the start of `hash`; for a renamed copy also `@` and its number.
    pub id: String,
    /// The split, which is that of the method.
    pub split: Split,
    /// What was changed.
    pub kind: FaultKind,
    /// The first 16 hexadecimal digits of the SHA-256 of the method with the fault.
    pub hash: String,
    /// What a published set states about it, if the set gives its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Given>,
}

impl Fault {
    /// The id of its method.
    pub fn of(&self) -> &str {
        method(&self.id)
    }

    /// Whether its tests were run and detected it. Faults of the split `train` may be
    /// untested; those of the other splits are not.
    pub fn is_noticed(&self) -> bool {
        self.id[self.of().len()..].starts_with('#')
    }

    /// A renamed copy of this fault, by its number from 1.
    pub fn renamed(&self, names: u32) -> Fault {
        Fault { id: format!("{}@{names}", self.id), ..self.clone() }
    }

    /// The number of this renamed copy, if it is one. A copy is only for training; no test
    /// can run it.
    fn names(&self) -> Option<u64> {
        self.id.rsplit_once('@').and_then(|(_, names)| names.parse().ok())
    }

    /// This fault, marked as detected by its tests.
    pub fn noticed(&self) -> Fault {
        let id = self.id.replace('~', "#");
        Fault { id, ..self.clone() }
    }
}

/// The faults, and the benchmark they come from.
pub struct Faults {
    header: Header,
    /// The directory of the faults.
    folder: PathBuf,
    methods: Methods,
    faults: Vec<Fault>,
    by_id: HashMap<String, usize>,
    /// All methods whose id is unique.
    places: HashMap<String, Place>,
    /// The words for new names.
    words: OnceLock<Words>,
}

/// The default directory of a benchmark of faults.
pub fn folder() -> PathBuf {
    home().join("benchmarks").join("faults")
}

impl Faults {
    /// Faults of the short methods of a benchmark, untested: a few of each method, of each
    /// kind in turn, items before other methods. `train` is the maximum for a method to train
    /// on.
    ///
    /// # Errors
    /// One sentence that names what is missing and the command that makes it.
    pub fn all(header: Header, train: usize) -> Result<Faults, BenchmarkError> {
        let all = Faults::none(header)?;
        let items = &all.methods.manifest().items;
        let items = items.iter().map(|item| (item.id.clone(), item.split));
        let rest = all.without_tests().into_iter().map(|id| (id, Split::Train));
        let mut faults = Vec::new();
        for (of, split) in items.chain(rest) {
            let most = if split == Split::Train { train } else { MOST };
            let truth = all.places.get(&of).map(Place::truth).unwrap_or_default();
            for (kind, pair) in all.pairs(&truth).take(most) {
                let hash = short_hash(pair.faulty.as_bytes());
                let id = format!("{of}~{}", &hash[..6]);
                faults.push(Fault { id, split, kind, hash, given: None });
            }
        }
        let mut seen = HashSet::new();
        faults.retain(|fault| seen.insert(fault.id.clone()));
        Ok(all.with(faults))
    }

    /// Methods that are not items, are in no file of a held-out item and are similar to
    /// none.
    fn without_tests(&self) -> Vec<String> {
        let files = self.held_out_files();
        let other = |id: &&String| {
            !self.methods.is_item(id) && file(id).is_none_or(|file| !files.contains(file))
        };
        let mut others: Vec<&String> = self.places.keys().filter(other).collect();
        others.sort();
        let held_out = self.held_out().filter_map(|item| self.places.get(&item.id));
        let places = held_out.chain(others.iter().map(|id| &self.places[*id]));
        let shingles: Vec<_> = places.map(|place| source::shingles(&place.truth())).collect();
        let first = shingles.len() - others.len();
        let alike: HashSet<usize> = source::near_duplicates(&shingles, ALIKE)
            .into_iter()
            .filter(|(one, other)| *one < first && *other >= first)
            .map(|(_, other)| other - first)
            .collect();
        let others = others.into_iter().enumerate().filter(|(at, _)| !alike.contains(at));
        others.map(|(_, id)| id.clone()).collect()
    }

    fn held_out(&self) -> impl Iterator<Item = &Item> {
        self.methods.manifest().items.iter().filter(|item| item.split != Split::Train)
    }

    fn held_out_files(&self) -> HashSet<&str> {
        self.held_out().filter_map(|item| file(&item.id)).collect()
    }

    /// The benchmark without any faults.
    fn none(header: Header) -> Result<Faults, BenchmarkError> {
        let methods = match header.of.as_str() {
            "django" => django::load(header.of_dir.as_deref())?,
            "python" => python::load(header.of_dir.as_deref())?,
            other => {
                return Err(BenchmarkError::Broken(format!(
                    "faults cannot be made in `{other}`; they can in: django, python"
                )));
            }
        };
        if let Some(span) = methods.manifest().header.span {
            return Err(BenchmarkError::Broken(format!(
                "faults are made in single functions and methods, and this `{}` was built with \
                 --span {span}: build it without --span",
                header.of
            )));
        }
        let (mut places, mut twice) = (HashMap::new(), HashSet::new());
        for place in methods.places() {
            let id = place.id();
            if places.insert(id.clone(), place).is_some() {
                twice.insert(id);
            }
        }
        places.retain(|id, _| !twice.contains(id));
        let (faults, by_id, words) = (Vec::new(), HashMap::new(), OnceLock::new());
        Ok(Faults { header, folder: PathBuf::new(), methods, faults, by_id, places, words })
    }

    /// Opens a benchmark that `fixfly bench build faults` made.
    ///
    /// # Errors
    /// One sentence that names what is missing and the command that makes it.
    pub fn open(chosen: Option<&Path>) -> Result<Faults, BenchmarkError> {
        let folder = chosen.map_or_else(folder, Path::to_path_buf);
        let file = folder.join(MANIFEST);
        let shown = file.display();
        let broken = |why: String| {
            let remedy = "run `fixfly bench build faults` again";
            BenchmarkError::Broken(format!("{shown}{why}; {remedy}"))
        };
        let text = fs::read_to_string(&file).map_err(|why| broken(format!(": {why}")))?;
        let mut lines = text.lines().enumerate();
        let first = lines.next().map_or("", |(_, line)| line);
        let at =
            |line: usize, why: serde_json::Error| broken(format!(", line {}: {why}", line + 1));
        let mut header: Header = serde_json::from_str(first).map_err(|why| at(0, why))?;
        if header.schema != SCHEMA {
            return Err(broken(format!(" is of version {}, not {SCHEMA}", header.schema)));
        }
        let faults = lines
            .map(|(line, text)| serde_json::from_str(text).map_err(|why| at(line, why)))
            .collect::<Result<_, _>>()?;
        header.of_dir = header.of_dir.map(|of| folder.join(of));
        Ok(Faults { folder, ..Faults::none(header)?.with(faults) })
    }

    /// The faults, in the order of tasks.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether its method has tests, which could detect it.
    pub fn has_tests(&self, fault: &Fault) -> bool {
        self.methods.is_item(fault.of())
    }

    /// This benchmark with these of its faults.
    fn with(self, faults: Vec<Fault>) -> Faults {
        let by_id = faults.iter().enumerate().map(|(at, fault)| (fault.id.clone(), at)).collect();
        Faults { faults, by_id, ..self }
    }

    /// Writes the manifest with these of its faults to a folder, atomically.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn write(&self, folder: &Path, faults: &[Fault]) -> Result<(), BenchmarkError> {
        let mut text = line(&self.header);
        text.extend(faults.iter().map(line));
        write_whole(&folder.join(MANIFEST), &text)
    }

    fn fault(&self, task: &Task) -> Result<&Fault, BenchmarkError> {
        let at = self.by_id.get(&task.id);
        let at = at.ok_or_else(|| BenchmarkError::Broken(format!("no fault is {}", task.id)))?;
        Ok(&self.faults[*at])
    }

    fn pair(&self, fault: &Fault) -> Result<Pair, BenchmarkError> {
        if fault.given.is_some() {
            return self.given(fault);
        }
        let truth = self.places.get(fault.of()).map(Place::truth).unwrap_or_default();
        let same = |pair: &Pair| short_hash(pair.faulty.as_bytes()) == fault.hash;
        let found = self.pairs(&truth).map(|(_, pair)| pair).find(same);
        let pair = found.ok_or_else(|| {
            let (id, of) = (&fault.id, &self.header.of);
            let remedy = "run `fixfly bench build faults` again";
            BenchmarkError::Broken(format!("{id} is no fault of this {of}: {remedy}"))
        })?;
        let [faulty, truth] = self.named([&pair.faulty, &pair.truth], fault);
        Ok(Pair { faulty, truth })
    }

    /// The texts with the names of a renamed copy, which are drawn for it alone.
    fn named<const N: usize>(&self, texts: [&str; N], fault: &Fault) -> [String; N] {
        let Some(names) = fault.names() else { return texts.map(str::to_string) };
        let hash = u64::from_str_radix(&fault.hash, 16).unwrap_or_default();
        self.words().renamed(texts, hash.wrapping_add(names))
    }

    /// The words of everything that may be used for training.
    fn words(&self) -> &Words {
        self.words.get_or_init(|| {
            let held_out = self.held_out_files();
            let learned = |place: &&Place| !held_out.contains(&*place.file);
            let places: Vec<&Place> = self.places.values().filter(learned).collect();
            let truths: Vec<String> = places.into_iter().map(Place::truth).collect();
            Words::of(truths.iter().map(String::as_str))
        })
    }

    /// The faults of a short method that a change of one line fixes.
    fn pairs(&self, truth: &str) -> impl Iterator<Item = (FaultKind, Pair)> {
        let short = if truth.len() > self.header.longest { "" } else { truth };
        rules::faults(short)
    }

    /// The task of fixing a fault.
    ///
    /// # Errors
    /// One sentence if the method has changed.
    pub fn task(&self, fault: &Fault) -> Result<Task, BenchmarkError> {
        let pair = self.pair(fault)?;
        let mut task = self.methods.task(fault.of(), &self.places[fault.of()]);
        task.id = fault.id.clone();
        task.benchmark = ENTRY.name.into();
        if let Statement::Method(method) = &mut task.statement {
            method.faulty = Some(pair.faulty);
            // What a given function calls may be elsewhere in its module.
            if fault.given.is_none() || ["", "..."].contains(&method.content.trim()) {
                method.content.clear();
            }
            if fault.names().is_some() {
                // The names of the declaration come first in the text.
                let whole = format!("{}\n    pass", method.declaration);
                let [whole] = self.named([&whole], fault);
                method.declaration = whole.trim_end_matches("\n    pass").to_string();
                let name =
                    method.declaration.split_once("def ").and_then(|(_, n)| n.split_once('('));
                method.name = name.map_or_else(String::new, |(name, _)| name.trim().to_string());
                method.description.clear();
            }
        }
        Ok(task)
    }
}

/// What a change in an answer to a task may remove.
pub(crate) fn edit_form(task: &Task) -> EditForm {
    task.statement.method().map_or_else(EditForm::default, |method| method.options.edit)
}

/// The file of a method, by its id.
fn file(id: &str) -> Option<&str> {
    id.split_once("::").map(|(file, _)| file)
}

/// The id of a fault's method, by the fault's id.
fn method(id: &str) -> &str {
    id.rsplit_once(['#', '~']).map_or(id, |(of, _)| of)
}

/// The task of the method that contains the fault.
fn of(task: &Task) -> Task {
    Task { id: method(&task.id).into(), ..task.clone() }
}

#[async_trait]
impl Benchmark for Faults {
    async fn tasks(&self, split: Split) -> Result<Vec<Task>, BenchmarkError> {
        let faults = self.faults.iter().filter(|fault| fault.split == split);
        faults.map(|fault| self.task(fault)).collect()
    }

    fn evaluator(&self) -> Option<&dyn Evaluator> {
        Some(self)
    }

    async fn judge(
        &self,
        task: &Task,
        candidate: &str,
        fresh: &dyn Sandbox,
    ) -> Result<Verdict, BenchmarkError> {
        self.methods.judge(&of(task), candidate, fresh).await
    }

    fn unsupported(&self, task: &Task, sandbox: &str) -> Option<String> {
        let why = match self.fault(task).ok() {
            Some(fault) if fault.names().is_some() => "it has other names than the project",
            Some(fault) if !self.has_tests(fault) => "its method has no tests",
            _ => return self.methods.unsupported(&of(task), sandbox),
        };
        Some(format!("{why}: it can be learned from (--turns 0), not tried"))
    }

    fn facts(&self) -> BTreeMap<String, String> {
        let mut facts = self.methods.facts();
        let hashes: String = self.faults.iter().map(|fault| &*fault.hash).collect();
        facts.insert("faults_hash".into(), short_hash(hashes.as_bytes()));
        facts
    }

    fn ground_truth(&self) -> &dyn GroundTruth {
        self
    }
}

#[async_trait]
impl Evaluator for Faults {
    async fn evaluate(
        &self,
        task: &Task,
        candidate: &str,
        sandbox: &dyn Sandbox,
    ) -> Result<Observation, BenchmarkError> {
        let pair = self.pair(self.fault(task)?)?;
        match repaired(&pair.faulty, candidate, edit_form(task)) {
            Ok(method) => self.methods.evaluate(&of(task), &method, sandbox).await,
            Err(why) => Ok(Observation::invalid(why.to_string())),
        }
    }

    fn patch(&self, task: &Task, candidate: &str) -> Result<String, BenchmarkError> {
        self.methods.patch(&of(task), candidate)
    }
}
