//! The stages of a sweep, in their order: benchmark, base models, datasets, students, runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fixfly_runtime::ThinkingMode;
use toml::{Table, Value};

use super::artifacts::{ArtifactStore, Scope};
use super::stage::{Stage, Verb};
use super::{
    Attempts, Checkpoints, Commands, Control, Data, Model, Sweep, SweepError, VALIDATION,
    smoke_test,
};
use crate::checkpoint::{checkpoints, choose};
use crate::settings::Method;

impl Sweep {
    /// The same sweep, so small that two CPUs run it in minutes.
    #[must_use]
    pub fn reduced(self) -> Sweep {
        smoke_test::reduced(self)
    }

    /// Runs every stage that is not done, and returns the finished runs, as a report reads
    /// them. A `smoke_test` has other policies in place of teachers.
    ///
    /// # Errors
    /// Those of the commands, and [`SweepError`].
    pub fn execute<C: Commands>(
        &self,
        output: &Path,
        smoke_test: bool,
        commands: &C,
    ) -> Result<Vec<Table>, C::Error> {
        self.within(&ArtifactStore::open(output, Scope::All, commands)?, smoke_test)
    }

    /// The stages that can run now, each beside the others, by the names of their outputs; none
    /// if all are done. Runs nothing.
    ///
    /// # Errors
    /// As for [`Sweep::execute`].
    pub fn ready<C: Commands>(
        &self,
        output: &Path,
        smoke_test: bool,
        commands: &C,
    ) -> Result<Vec<String>, C::Error> {
        let artifacts = ArtifactStore::open(output, Scope::List, commands)?;
        let mut waits = false;
        artifacts.unless_waiting(self.within(&artifacts, smoke_test), &mut waits)?;
        Ok(artifacts.ready.into_inner())
    }

    /// Runs the stage of that name, unless it is done.
    ///
    /// # Errors
    /// As for [`Sweep::execute`]; [`SweepError::Usage`] if no such stage can run now.
    pub fn execute_one<C: Commands>(
        &self,
        name: &str,
        output: &Path,
        smoke_test: bool,
        commands: &C,
    ) -> Result<(), C::Error> {
        let done = format!("{}.done", name.strip_suffix(".gguf").unwrap_or(name));
        if output.join(done).is_file() {
            return Ok(());
        }
        let artifacts = ArtifactStore::open(output, Scope::One(name), commands)?;
        let mut waits = false;
        artifacts.unless_waiting(self.within(&artifacts, smoke_test), &mut waits)?;
        let ready = artifacts.ready.into_inner();
        match ready.iter().any(|other| other == name) {
            true => Ok(()),
            false => Err(SweepError::Usage(format!(
                "no stage {name} can run now; those that can are: {}",
                if ready.is_empty() { "none".into() } else { ready.join(", ") }
            ))
            .into()),
        }
    }

    fn within<C: Commands>(
        &self,
        artifacts: &ArtifactStore<'_, C>,
        smoke_test: bool,
    ) -> Result<Vec<Table>, C::Error> {
        let (runs, trained) = (Vec::new(), BTreeMap::new());
        let mut bench =
            SweepRun { folder: None, smoke_test, sweep: self, artifacts, runs, trained };
        bench.folder = bench.benchmark()?;
        let mut waits = false;
        for model in &self.model {
            let made = bench.model(model);
            artifacts.unless_waiting(made, &mut waits)?;
        }
        ArtifactStore::<C>::nothing_waits(waits)?;
        Ok(bench.runs)
    }
}

/// The state of a sweep.
pub(super) struct SweepRun<'a, C> {
    /// The benchmark's folder, if not the default one.
    folder: Option<PathBuf>,
    smoke_test: bool,
    pub(super) sweep: &'a Sweep,
    pub(super) artifacts: &'a ArtifactStore<'a, C>,
    /// The finished runs, as a report reads them.
    pub(super) runs: Vec<Table>,
    /// The student of each dataset so far, as a model and its adapter.
    pub(super) trained: BTreeMap<String, (PathBuf, Option<PathBuf>)>,
}

/// A student, as `fixfly run` takes it.
pub(super) struct Served {
    pub(super) whole: PathBuf,
    pub(super) adapter: Option<PathBuf>,
    pub(super) name: String,
    /// Its labels in tables.
    pub(super) labels: Table,
}

/// A base model, in the formats that training and running need.
pub(super) struct Base<'a> {
    pub(super) name: &'a str,
    /// A folder, a GGUF file, or a model's name.
    pub(super) trained: PathBuf,
    pub(super) whole: PathBuf,
    tokenizer: PathBuf,
    labels: Table,
}

/// Which runs of a student to make.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) splits: &'a [String],
    pub(super) control: Option<&'a Control>,
}

/// Adds the flag that turns reasoning on or off.
pub(super) fn thinking(stage: Stage, mode: ThinkingMode) -> Stage {
    match mode {
        ThinkingMode::Default => stage,
        ThinkingMode::Think => stage.set("think", "yes"),
        ThinkingMode::NoThink => stage.set("think", "no"),
    }
}

/// The label of a mode in reports and names; none for the model's default.
pub(super) fn label(mode: ThinkingMode) -> Option<&'static str> {
    match mode {
        ThinkingMode::Default => None,
        ThinkingMode::Think => Some("think"),
        ThinkingMode::NoThink => Some("nothink"),
    }
}

pub(super) fn integer(number: usize) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

impl<C: Commands> SweepRun<'_, C> {
    /// The folder of the benchmark; built first if the sweep has `[build]`.
    fn benchmark(&self) -> Result<Option<PathBuf>, C::Error> {
        let Some(flags) = &self.sweep.build else { return Ok(self.sweep.benchmark_dir.clone()) };
        let name = &*self.sweep.benchmark;
        let verb = Verb::BuildBenchmark(name.into());
        self.artifacts.make(&Stage::new("benchmarks", name, verb).with(flags)?).map(Some)
    }

    fn model(&mut self, model: &Model) -> Result<(), C::Error> {
        let trained = match (&model.base, &model.init) {
            (Some(base), _) => self.artifacts.commands.base_model(base)?,
            (None, flags) => self.pretrained(model, &flags.clone().unwrap_or_default())?,
        };
        let labels = Table::from_iter([("model".to_string(), model.name.clone().into())]);
        // A GGUF file is served as it is.
        let (whole, tokenizer) = match trained.is_dir() {
            true => {
                let stage = Stage::new("models", &model.name, Verb::ExportGguf)
                    .path("from", &trained)
                    .of(&[&trained])
                    .with(&self.sweep.export)?
                    .file("gguf");
                (self.artifacts.make(&stage)?, trained.join("tokenizer.json"))
            }
            false => (trained.clone(), trained.clone()),
        };
        let base = Base { name: &model.name, trained, whole, tokenizer, labels };
        let mut labels = base.labels.clone();
        labels.insert("method".into(), "base".into());
        let name = base.name.to_string();
        let served = Served { whole: base.whole.clone(), adapter: None, name, labels };
        let splits = match self.sweep.checkpoints {
            // The base model has no checkpoints to choose from.
            Checkpoints::Validated => self.splits(false),
            Checkpoints::Chosen | Checkpoints::All => self.sweep.splits.clone(),
        };
        let (artifacts, mut waits) = (self.artifacts, false);
        let of_base = self.run(&[served], Wanted { splits: &splits, control: None });
        artifacts.unless_waiting(of_base, &mut waits)?;
        self.trained.clear();
        for data in &self.sweep.dataset {
            artifacts.unless_waiting(self.dataset(&base, data), &mut waits)?;
        }
        ArtifactStore::<C>::nothing_waits(waits)
    }

    /// The splits that choose checkpoints, or the others.
    pub(super) fn splits(&self, validation: bool) -> Vec<String> {
        let splits = self.sweep.splits.iter();
        splits.filter(|split| (*split == VALIDATION) == validation).cloned().collect()
    }

    /// The run that records tasks without attempts.
    fn tasks(&self) -> Result<PathBuf, C::Error> {
        let tasks = self.runs("tasks", "null", "train").set("turns", 0);
        self.artifacts.make(&tasks.with(&self.sweep.tasks)?)
    }

    /// A randomly initialised model, pretrained if the sweep has `pretrain`.
    fn pretrained(&self, model: &Model, flags: &Table) -> Result<PathBuf, C::Error> {
        let tasks = self.tasks()?;
        let originals = |name: &str| {
            let stage = Stage::new("datasets", name, Verb::BuildDataset);
            stage.set("recipe", "originals").set("runs", vec![shown(&tasks)])
        };
        let text = self.artifacts.make(&originals("text"))?;
        let init = Stage::new("models", &format!("{}-init", model.name), Verb::Init);
        let init = self.artifacts.make(&init.path("dataset", &text).with(flags)?)?;
        let Some(pretrain) = &model.pretrain else { return Ok(init) };
        let lessons = originals(&format!("{}-originals", model.name)).set("format", "tokens");
        let lessons = lessons.path("tokenizer", &init.join("tokenizer.json"));
        let lessons = self.artifacts.make(&lessons)?;
        let name = format!("{}-pretrain", model.name);
        let stage = Stage::new("students", &name, Verb::Train(Method::Full));
        let stage = stage.path("base", &init).path("dataset", &lessons);
        let student = self.artifacts.make(&stage.with(pretrain)?)?;
        let all = checkpoints(&student).map_err(SweepError::from)?;
        match choose(&all) {
            Some(chosen) => Ok(chosen.folder.clone()),
            None => {
                let why = format!("{} has no checkpoint", student.display());
                Err(SweepError::Broken(why).into())
            }
        }
    }

    /// A run on the sweep's benchmark, with its prompts.
    pub(super) fn runs(&self, name: &str, policy: &str, split: &str) -> Stage {
        let mut stage = Stage::new("runs", name, Verb::Run)
            .set("benchmark", &*self.sweep.benchmark)
            .set("policy", policy)
            .set("split", split);
        if let Some(folder) = &self.folder {
            stage = stage.path("benchmark-dir", folder);
            stage = stage.of(&[&folder.join("manifest.jsonl"), &folder.join("faults.jsonl")]);
        }
        if let Some(prompts) = &self.sweep.prompts {
            stage = stage.path("prompts", prompts);
            for text in ["system.jinja", "first.jinja", "later.jinja"] {
                stage = stage.of(&[&prompts.join(text)]);
            }
        }
        stage
    }

    /// The runs of attempts on the training split: those of models in each mode.
    fn attempts(&self, base: &Base<'_>, data: &Data) -> Result<Vec<String>, C::Error> {
        let (mut runs, mut waits) = (Vec::new(), false);
        let taken = self.sweep.attempts.iter().filter(|one| data.takes(one));
        for Attempts { name, policy, student, flags } in taken {
            if let Some(policy) = policy {
                let stage = self.runs(&format!("{name}-train"), policy, "train").with(flags)?;
                let made = self.artifacts.make(&stage);
                runs.extend(
                    self.artifacts.unless_waiting(made, &mut waits)?.map(|run| shown(&run)),
                );
                continue;
            }
            for mode in self.modes() {
                let said = label(mode).map_or_else(String::new, |mode| format!("-{mode}"));
                let name = format!("{}{said}-{name}-train", base.name);
                let own = (base.whole.clone(), None);
                let of = student.as_ref().map(|student| {
                    let trained = self.trained.get(student);
                    trained.ok_or_else(|| match self.artifacts.runs_all() {
                        true => SweepError::Broken(format!("no student of {student} was trained")),
                        false => SweepError::Waits,
                    })
                });
                let (whole, adapter) = of.transpose()?.unwrap_or(&own);
                let mut stage = self.runs(&name, "llama", "train");
                stage = stage.path("model", whole).of(&[whole]);
                if let Some(adapter) = adapter {
                    stage = stage.path("lora", adapter);
                }
                let made = self.artifacts.make(&thinking(stage, mode).with(flags)?);
                runs.extend(
                    self.artifacts.unless_waiting(made, &mut waits)?.map(|run| shown(&run)),
                );
            }
        }
        ArtifactStore::<C>::nothing_waits(waits)?;
        Ok(runs)
    }

    /// The stage that builds a dataset from its recorded runs.
    fn recorded(&self, base: &Base<'_>, data: &Data) -> Result<Stage, C::Error> {
        let mut stage = Stage::new("datasets", &data.name(), Verb::BuildDataset);
        let mut runs = match (data.runs.is_empty(), self.smoke_test) {
            (true, _) => self.attempts(base, data)?,
            (false, false) => {
                for run in &data.runs {
                    stage = stage.of(&[&Data::run_folder(run)]);
                }
                data.runs.clone()
            }
            (false, true) => {
                let runs = |name: &str| self.runs(name, "retrieval", "train");
                smoke_test::teachers(&data.recipe, &runs, self.artifacts)?
            }
        };
        if data.tasks {
            runs.push(shown(&self.tasks()?));
        }
        stage = stage.set("runs", runs).set("recipe", &*data.recipe);
        let mut flags = data.flags.clone();
        if self.smoke_test {
            flags.extend(smoke_test::short());
        }
        Ok(stage.with(&flags)?.of(&[Path::new(&data.recipe)]))
    }

    /// The reasoning traces of a dataset.
    fn traces(&self, base: &Base<'_>, data: &Data) -> Result<Vec<PathBuf>, C::Error> {
        if !self.smoke_test || data.traces.is_empty() {
            return Ok(data.traces.clone());
        }
        let plain = data.recipe.split('-').next().unwrap_or(&data.recipe);
        let plain = Data { recipe: plain.into(), ..data.clone() };
        let rows = self.artifacts.make(&self.recorded(base, &plain)?)?;
        let file = rows.with_extension("traces.jsonl");
        self.artifacts.commands.placeholder_traces(&rows, &file)?;
        Ok(vec![file])
    }

    fn dataset(&mut self, base: &Base<'_>, data: &Data) -> Result<(), C::Error> {
        let mut stage = self.recorded(base, data)?.of(&[&base.tokenizer]);
        for traces in self.traces(base, data)? {
            stage = stage.path("traces", &traces).of(&[&traces]);
        }
        let dataset = self
            .artifacts
            .make(&stage.set("format", "tokens").path("tokenizer", &base.tokenizer))?;
        let mut labels = base.labels.clone();
        labels.extend(data.labels.clone());
        labels.entry("dataset").or_insert_with(|| data.name().into());
        let rows = self.artifacts.commands.rows(&dataset)?;
        labels.insert("rows".into(), integer(rows));
        let (artifacts, mut waits) = (self.artifacts, false);
        for method in &self.sweep.methods {
            let ranks: &[u32] = if *method == Method::Lora { &self.sweep.ranks } else { &[0] };
            for rank in ranks {
                for seed in self.seeds() {
                    let students = self.train(base, (&dataset, &labels), (*method, *rank, seed));
                    let Some(students) = artifacts.unless_waiting(students, &mut waits)? else {
                        continue;
                    };
                    let run = self.run_trained(students, &data.name());
                    artifacts.unless_waiting(run, &mut waits)?;
                }
            }
        }
        ArtifactStore::<C>::nothing_waits(waits)
    }
}
