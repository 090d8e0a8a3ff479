//! The file of a sweep: many trainings, and the runs before and after each.

mod artifacts;
mod commands;
mod own_flags;
mod smoke_test;
mod stage;
mod trained;
mod work;

use std::path::{Path, PathBuf};

use fixfly_runtime::ThinkingMode;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use toml::{Table, Value};

use crate::settings::Method;
pub use commands::{Commands, SweepError};
pub use stage::{Stage, Verb};

/// The split that chooses checkpoints.
pub const VALIDATION: &str = "validation";

/// A sweep: the product of all of its lists. Tables are flags of a command, by their long
/// names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sweep {
    /// A description, for readers of the file.
    pub about: String,
    /// The benchmark of every run.
    pub benchmark: String,
    /// Its folder, if not the default one.
    pub benchmark_dir: Option<PathBuf>,
    /// Flags of `fixfly bench build`, if the sweep builds its benchmark.
    pub build: Option<Table>,
    /// Prompts of every run, and so of every dataset.
    pub prompts: Option<PathBuf>,
    /// The models to train.
    pub model: Vec<Model>,
    /// The datasets to train each of them on.
    #[serde(default)]
    pub dataset: Vec<Data>,
    /// How to train.
    #[serde(default = "lora")]
    pub methods: Vec<Method>,
    /// Ranks of the adapters.
    #[serde(default = "thirty_two")]
    pub ranks: Vec<u32>,
    /// Seeds of the trainings; if empty, the default one. Students that differ in it alone
    /// are repeats of one configuration.
    #[serde(default)]
    pub seeds: Vec<u32>,
    /// Whether models reason; if empty, the model's default.
    #[serde(default)]
    pub modes: Vec<ThinkingMode>,
    /// The checkpoints to run.
    #[serde(default)]
    pub checkpoints: Checkpoints,
    /// Parts of the benchmark; with `validation` a report chooses checkpoints by repairs.
    #[serde(default = "benchmark")]
    pub splits: Vec<String>,
    /// Runs of each, with seeds from 0.
    #[serde(default = "one")]
    pub repeats: u64,
    /// The report's tables; if empty, all that have a row.
    #[serde(default)]
    pub tables: Vec<String>,
    /// Flags of `fixfly export gguf` for whole models.
    #[serde(default)]
    pub export: Table,
    /// Flags of `fixfly train`, for every method.
    #[serde(default)]
    pub train: Table,
    /// Flags of `fixfly train lora`.
    #[serde(default)]
    pub lora: Table,
    /// Flags of `fixfly train full`.
    #[serde(default)]
    pub full: Table,
    /// Flags of `fixfly run`.
    #[serde(default)]
    pub run: Table,
    /// Flags that replace those of `run` on the split `validation`.
    #[serde(default)]
    pub validation: Table,
    /// More runs of each student, with flags that replace those of `run`.
    #[serde(default)]
    pub control: Vec<Control>,
    /// Flags of the run that records tasks without attempts, for pretraining and for
    /// datasets with `tasks`.
    #[serde(default)]
    pub tasks: Table,
    /// The runs that record attempts to train on.
    #[serde(default = "own_attempts", deserialize_with = "attempts")]
    pub attempts: Vec<Attempts>,
}

fn lora() -> Vec<Method> {
    vec![Method::Lora]
}

fn thirty_two() -> Vec<u32> {
    vec![32]
}

fn benchmark() -> Vec<String> {
    vec!["benchmark".into()]
}

fn one() -> u64 {
    1
}

fn own_attempts() -> Vec<Attempts> {
    vec![Attempts { name: "own".into(), policy: None, student: None, flags: Table::new() }]
}

/// A model before training.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name in reports.
    pub name: String,
    /// Its Hugging Face folder, its GGUF file, or its name in `fixfly model list`.
    pub base: Option<PathBuf>,
    /// Or flags of `fixfly train init`, which creates a randomly initialised model.
    pub init: Option<Table>,
    /// Flags of `fixfly train full`, which pretrains it on the tasks of the training
    /// split with the original methods.
    pub pretrain: Option<Table>,
}

/// A dataset to build.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Its name in reports [default: the recipe's].
    pub name: Option<String>,
    /// A recipe that comes with fixfly, or a file.
    pub recipe: String,
    /// Recorded runs, as `fixfly dataset build` takes them; if empty, the sweep's attempts.
    #[serde(default)]
    pub runs: Vec<String>,
    /// Which of the sweep's attempts, by name; if empty, all but those of students.
    #[serde(default)]
    pub attempts: Vec<String>,
    /// Whether the tasks that the sweep records without attempts are in it, too.
    #[serde(default)]
    pub tasks: bool,
    /// Files of reasoning traces.
    #[serde(default)]
    pub traces: Vec<PathBuf>,
    /// Flags of `fixfly dataset build`.
    #[serde(default)]
    pub flags: Table,
    /// Its labels in a report, besides its name and rows.
    #[serde(default)]
    pub labels: Table,
}

impl Data {
    /// Its own name, the recipe's, or that of the recipe's file.
    pub fn name(&self) -> String {
        match (&self.name, self.recipe.strip_suffix(".toml")) {
            (Some(name), _) => name.clone(),
            (None, Some(path)) => {
                Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            (None, None) => self.recipe.clone(),
        }
    }

    /// Whether these attempts are in it.
    pub fn takes(&self, attempts: &Attempts) -> bool {
        match self.attempts.is_empty() {
            true => attempts.student.is_none(),
            false => self.attempts.contains(&attempts.name),
        }
    }

    /// The folder of `[TEACHER=]RUN`.
    pub fn run_folder(run: &str) -> PathBuf {
        match run.split_once('=') {
            Some((_, folder)) => folder.into(),
            None => run.into(),
        }
    }
}

/// A run on the training split, to train on.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempts {
    /// Its name [default: `own` for the model's attempts, else the policy's].
    pub name: String,
    /// The policy; `None` for the model itself.
    pub policy: Option<String>,
    /// The dataset whose student attempts, for a second round; `None` for the base model.
    pub student: Option<String>,
    /// Flags of `fixfly run`.
    pub flags: Table,
}

impl Attempts {
    /// The attempts of a table of flags that may also name them and their policy.
    fn of(mut flags: Table) -> Result<Self, String> {
        let mut text = |key: &str| match flags.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("`{key}` of attempts must be a text")),
        };
        let (name, policy, student) = (text("name")?, text("policy")?, text("student")?);
        let policy = policy.filter(|policy| policy != "llama");
        let name = name.or(policy.clone()).unwrap_or_else(|| "own".into());
        Ok(Attempts { name, policy, student, flags })
    }
}

/// One table or several.
fn attempts<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<Attempts>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(Table),
        More(Vec<Table>),
    }
    let tables = match OneOrMore::deserialize(from)? {
        OneOrMore::One(table) => vec![table],
        OneOrMore::More(tables) => tables,
    };
    tables.into_iter().map(|table| Attempts::of(table).map_err(Error::custom)).collect()
}

/// A run of each student with other flags, beside the usual one.
#[derive(Clone, Debug, Deserialize)]
pub struct Control {
    /// Its name in reports.
    pub name: String,
    /// The datasets of the students, by name; if empty, all.
    #[serde(default)]
    pub datasets: Vec<String>,
    /// The splits; if empty, those of the sweep except `validation`.
    #[serde(default)]
    pub splits: Vec<String>,
    /// Flags that replace those of `run`.
    #[serde(flatten)]
    pub flags: Table,
}

/// Which checkpoints of a training are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checkpoints {
    /// The one with the least validation loss.
    #[default]
    Chosen,
    /// That of each epoch.
    All,
    /// That of each epoch on the split `validation`; on the other splits the one that
    /// solved most there, and of equals the last.
    Validated,
}

impl Sweep {
    /// Reads a file.
    ///
    /// # Errors
    /// One sentence that names the file and the fault.
    pub fn open(file: &Path) -> Result<Sweep, String> {
        let shown = file.display();
        let text =
            fixfly_runtime::read_text(file).map_err(|why| format!("cannot read {shown}: {why}"))?;
        // The canonical path, so that the paths in the file do not depend on its name.
        let file = file.canonicalize().unwrap_or(file.to_path_buf());
        let folder = file.parent().unwrap_or(Path::new("/"));
        Sweep::read(&text, folder).map_err(|why| format!("{shown}: {why}"))
    }

    /// Parses the text of a file; its paths are relative to `folder`.
    ///
    /// # Errors
    /// One sentence with the fault.
    pub fn read(text: &str, folder: &Path) -> Result<Sweep, String> {
        let mut sweep: Sweep = toml::from_str(text).map_err(|why| why.to_string())?;
        if let Some(fault) = sweep.fault() {
            return Err(fault);
        }
        sweep.with_hyphens();
        if let Some(fault) = sweep.own_flag() {
            return Err(fault);
        }
        sweep.benchmark_dir = sweep.benchmark_dir.map(|path| folder.join(path));
        sweep.prompts = sweep.prompts.map(|path| folder.join(path));
        for model in &mut sweep.model {
            model.base = model.base.take().map(|base| beside(folder, base));
        }
        for data in &mut sweep.dataset {
            if data.recipe.ends_with(".toml") {
                data.recipe = folder.join(&data.recipe).display().to_string();
            }
            for run in &mut data.runs {
                *run = match run.split_once('=') {
                    Some((teacher, run)) => format!("{teacher}={}", folder.join(run).display()),
                    None => folder.join(&*run).display().to_string(),
                };
            }
            for traces in &mut data.traces {
                *traces = folder.join(&*traces);
            }
        }
        Ok(sweep)
    }

    /// Writes the flags of every table with `-`, as on the command line.
    fn with_hyphens(&mut self) {
        let tables = [
            &mut self.train,
            &mut self.lora,
            &mut self.full,
            &mut self.run,
            &mut self.validation,
            &mut self.tasks,
            &mut self.export,
        ];
        let of_models =
            self.model.iter_mut().flat_map(|model| [&mut model.init, &mut model.pretrain]);
        let optional = of_models.chain([&mut self.build]).flatten();
        let of_runs = self.attempts.iter_mut().map(|attempts| &mut attempts.flags);
        let of_controls = self.control.iter_mut().map(|control| &mut control.flags);
        let of_data = self.dataset.iter_mut().map(|data| &mut data.flags);
        let listed = of_runs.chain(of_controls).chain(of_data);
        for flags in tables.into_iter().chain(optional).chain(listed) {
            let all = std::mem::take(flags).into_iter();
            *flags = all.map(|(key, value)| (key.replace('_', "-"), value)).collect();
        }
    }

    fn fault(&self) -> Option<String> {
        let named = |list: &str| Some(format!("{list} is empty; name at least one"));
        if self.model.is_empty() {
            return named("model");
        }
        for Model { name, base, init, pretrain } in &self.model {
            if base.is_some() == init.is_some() {
                return Some(format!("the model {name} needs either `base` or `init`"));
            }
            if pretrain.is_some() && init.is_none() {
                return Some(format!("the model {name} has `pretrain`, which needs `init`"));
            }
        }
        if !self.dataset.is_empty() && self.methods.is_empty() {
            return named("methods");
        }
        if self.splits.is_empty() {
            return named("splits");
        }
        if self.methods.contains(&Method::Lora) && self.ranks.is_empty() {
            return named("ranks");
        }
        if self.repeats == 0 {
            return Some("repeats is 0; it must be at least 1".into());
        }
        self.wrong_checkpoints().or_else(|| self.unknown_name())
    }

    fn wrong_checkpoints(&self) -> Option<String> {
        let validation = |split: &&String| *split == VALIDATION;
        let [validated, others] = [true, false]
            .map(|wanted| self.splits.iter().filter(|split| validation(split) == wanted).count());
        if self.checkpoints == Checkpoints::Validated && (validated == 0 || others == 0) {
            let why = "checkpoints is \"validated\", which needs `validation` and another split in splits";
            return Some(why.into());
        }
        (self.checkpoints == Checkpoints::All && !self.control.is_empty()).then(|| {
            "a control runs one checkpoint; set checkpoints to \"validated\" or \"chosen\"".into()
        })
    }

    /// A name that stands for nothing in the file, or for two things.
    fn unknown_name(&self) -> Option<String> {
        let runs: Vec<&str> = self.attempts.iter().map(|attempts| &*attempts.name).collect();
        let models: Vec<&str> = self.model.iter().map(|model| &*model.name).collect();
        let datasets: Vec<String> = self.dataset.iter().map(Data::name).collect();
        let controls: Vec<&str> = self.control.iter().map(|control| &*control.name).collect();
        let twice = |kind: &str, names: &[&str]| {
            let same = |at: &usize| names[..*at].contains(&names[*at]);
            let at = (1..names.len()).find(same)?;
            Some(format!("two {kind} are named {}; set another `name`", names[at]))
        };
        let attempts = || {
            let named = self.dataset.iter().flat_map(|data| &data.attempts);
            let wrong = named.into_iter().find(|name| !runs.contains(&&***name))?;
            Some(format!("no attempts are named {wrong}; there are: {}", runs.join(", ")))
        };
        let of_controls = || {
            let named = self.control.iter().flat_map(|control| &control.datasets);
            let wrong = named.into_iter().find(|name| !datasets.contains(*name))?;
            Some(format!("no dataset is named {wrong}; there are: {}", datasets.join(", ")))
        };
        let of_students = || {
            let taken = |data| self.attempts.iter().filter(move |one| Data::takes(data, one));
            self.dataset.iter().enumerate().find_map(|(at, data)| {
                let student = |one: &Attempts| one.student.clone();
                let mut students = taken(data).filter_map(student);
                let late = students.find(|student| !datasets.iter().take(at).any(|d| d == student));
                let (name, late) = (data.name(), late?);
                Some(format!("the dataset {name} takes attempts of the student of {late}, which is no earlier dataset"))
            })
        };
        let unused = || {
            let is_asked = |one: &&Attempts| {
                one.policy.is_some() || one.student.is_some() || !one.flags.is_empty()
            };
            let own = || self.dataset.iter().filter(|data| data.runs.is_empty());
            let is_taken = |one: &&Attempts| own().any(|data| data.takes(one));
            let mut all = self.attempts.iter().filter(|_| !self.dataset.is_empty());
            let name = &all.find(|one| is_asked(one) && !is_taken(one))?.name;
            Some(format!("no dataset takes the attempts {name}; add them to its `attempts`"))
        };
        let of_both = || {
            let both = |one: &&Attempts| one.policy.is_some() && one.student.is_some();
            let name = &self.attempts.iter().find(both)?.name;
            Some(format!("the attempts {name} have a policy and a student; keep one of them"))
        };
        twice("attempts", &runs)
            .or_else(|| twice("models", &models))
            .or_else(of_both)
            .or_else(|| twice("controls", &controls))
            .or_else(attempts)
            .or_else(of_controls)
            .or_else(of_students)
            .or_else(unused)
    }
}

/// A path relative to `folder`. A plain name that is not there stays: it is the name of a
/// model.
fn beside(folder: &Path, base: PathBuf) -> PathBuf {
    let there = folder.join(&base);
    match base.components().count() == 1 && !there.exists() {
        true => base,
        false => there,
    }
}

#[cfg(test)]
mod tests;
