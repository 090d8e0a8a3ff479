//! `fixfly sweep`: datasets × methods × ranks × seeds × checkpoints × modes × repeats,
//! trained, run and tabulated. Each stage is a command of fixfly, run in this process;
//! its output is stored under a name that contains the hash of its inputs.

mod artifacts;
mod file;
mod serve;
mod smoke_test;
mod stage;
mod trained;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use fixfly_datasets::Dataset;
use fixfly_policies::models::resolve;
use fixfly_report::{Mode, set_text};
use fixfly_students::sweep::{Attempts, Checkpoints, Control, Data, Model, Sweep, VALIDATION};
use fixfly_students::{Method, checkpoints, choose};

use crate::built::{Feature, require};
use crate::failure::Usage;
use crate::report;
use crate::terminal::Terminal;
use crate::train::interrupt;
use artifacts::ArtifactStore;
use stage::{Stage, Verb};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly sweep benchmarks/experiments/table-5.2.toml -o sweeps/5.2
  fixfly sweep benchmarks/experiments/table-5.2.toml --smoke-test -o sweeps/tiny
  fixfly sweep benchmarks/experiments/closed-loop.toml -o sweeps/closed-loop
  fixfly sweep mine.toml -o sweeps/mine
  fixfly report sweeps/mine/runs.toml --html report.html

Run the same command again to resume after Ctrl-C or kill -9; finished stages are not
repeated. Two sweeps in one folder share their common stages. docs/training.md documents
the file format.")]
pub(crate) struct Flags {
    /// TOML file of the sweep; its paths are relative to its folder
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Output folder
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Run every stage at a tiny scale, with random models, the retrieval policy as
    /// teacher, a few tasks and two epochs, to check that the sweep works
    #[arg(long)]
    smoke_test: bool,
}

pub(crate) fn sweep(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let sweep = Sweep::open(&flags.file).map_err(Usage)?;
    let sweep = if flags.smoke_test { smoke_test::reduced(sweep) } else { sweep };
    file::check(&sweep)?;
    require(&[Feature::Train, Feature::Llama])?;
    #[cfg(feature = "train")]
    for base in sweep.model.iter().filter_map(|model| model.base.as_ref()) {
        let base = resolve(base)?;
        for method in sweep.methods.iter().filter(|_| !sweep.dataset.is_empty()) {
            fixfly_students::check_base(&base, *method).map_err(|why| Usage(why.to_string()))?;
        }
    }
    let stop = interrupt::listen(terminal)?;
    let artifacts = ArtifactStore::open(&flags.output, stop, terminal)?;
    let (smoke_test, runs) = (flags.smoke_test, Vec::new());
    let (artifacts, trained) = (&artifacts, BTreeMap::new());
    let mut bench = SweepRun { folder: None, smoke_test, sweep: &sweep, artifacts, runs, trained };
    bench.folder = bench.benchmark()?;
    for model in &sweep.model {
        bench.model(model)?;
    }
    let set = flags.output.join("runs.toml");
    std::fs::write(&set, set_text(&bench.runs)?)
        .with_context(|| format!("cannot write {}", set.display()))?;
    let page = flags.output.join("report.html");
    report::report(&report::Flags::of_set(&set, &page, &sweep.tables)?)
}

/// The state of a sweep.
struct SweepRun<'a> {
    /// The benchmark's folder, if not the default one.
    folder: Option<PathBuf>,
    smoke_test: bool,
    sweep: &'a Sweep,
    artifacts: &'a ArtifactStore,
    /// The finished runs, as a report reads them.
    runs: Vec<toml::Table>,
    /// The student of each dataset so far, as a model and its adapter.
    trained: BTreeMap<String, (PathBuf, Option<PathBuf>)>,
}

/// A student, as `fixfly run` takes it.
struct Served {
    whole: PathBuf,
    adapter: Option<PathBuf>,
    name: String,
    /// Its labels in tables.
    labels: toml::Table,
}

/// A base model, in the formats that training and running need.
struct Base<'a> {
    name: &'a str,
    /// A folder, a GGUF file, or a model's name.
    trained: PathBuf,
    whole: PathBuf,
    tokenizer: PathBuf,
    labels: toml::Table,
}

/// Which runs of a student to make.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    splits: &'a [String],
    control: Option<&'a Control>,
}

/// Adds the flag that turns reasoning on or off.
fn thinking(stage: Stage, mode: Option<Mode>) -> Stage {
    match mode {
        None => stage,
        Some(Mode::Think) => stage.set("think", "yes"),
        Some(Mode::Nothink) => stage.set("think", "no"),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

impl SweepRun<'_> {
    /// The folder of the benchmark; built first if the sweep has `[build]`.
    fn benchmark(&self) -> anyhow::Result<Option<PathBuf>> {
        let Some(flags) = &self.sweep.build else { return Ok(self.sweep.benchmark_dir.clone()) };
        let name = &*self.sweep.benchmark;
        let verb = Verb::BuildBenchmark(name.into());
        self.artifacts.make(&Stage::new("benchmarks", name, verb).with(flags)?).map(Some)
    }

    fn model(&mut self, model: &Model) -> anyhow::Result<()> {
        let trained = match (&model.base, &model.init) {
            (Some(base), _) => resolve(base)?,
            (None, flags) => self.pretrained(model, &flags.clone().unwrap_or_default())?,
        };
        let labels = toml::Table::from_iter([("model".to_string(), model.name.clone().into())]);
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
        self.run(&[served], Wanted { splits: &splits, control: None })?;
        self.trained.clear();
        for data in &self.sweep.dataset {
            self.dataset(&base, data)?;
        }
        Ok(())
    }

    /// The splits that choose checkpoints, or the others.
    fn splits(&self, validation: bool) -> Vec<String> {
        let splits = self.sweep.splits.iter();
        splits.filter(|split| (*split == VALIDATION) == validation).cloned().collect()
    }

    /// The run that records tasks without attempts.
    fn tasks(&self) -> anyhow::Result<PathBuf> {
        let tasks = self.runs("tasks", "null", "train").set("turns", 0);
        self.artifacts.make(&tasks.with(&self.sweep.tasks)?)
    }

    /// A randomly initialised model, pretrained if the sweep has `pretrain`.
    fn pretrained(&self, model: &Model, flags: &toml::Table) -> anyhow::Result<PathBuf> {
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
        let all = checkpoints(&student)?;
        let chosen =
            choose(&all).with_context(|| format!("{} has no checkpoint", student.display()));
        Ok(chosen?.folder.clone())
    }

    /// A run on the sweep's benchmark, with its prompts.
    fn runs(&self, name: &str, policy: &str, split: &str) -> Stage {
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
    fn attempts(&self, base: &Base<'_>, data: &Data) -> anyhow::Result<Vec<String>> {
        let mut runs = Vec::new();
        let taken = self.sweep.attempts.iter().filter(|one| data.takes(one));
        for Attempts { name, policy, student, flags } in taken {
            if let Some(policy) = policy {
                let stage = self.runs(&format!("{name}-train"), policy, "train").with(flags)?;
                runs.push(shown(&self.artifacts.make(&stage)?));
                continue;
            }
            for mode in self.modes() {
                let said = mode.map_or_else(String::new, |mode| format!("-{}", mode.label()));
                let name = format!("{}{said}-{name}-train", base.name);
                let own = (base.whole.clone(), None);
                let of = student.as_ref().map(|student| {
                    let trained = self.trained.get(student);
                    trained.with_context(|| format!("no student of {student} was trained"))
                });
                let (whole, adapter) = of.transpose()?.unwrap_or(&own);
                let mut stage = self.runs(&name, "llama", "train");
                stage = stage.path("model", whole).of(&[whole]);
                if let Some(adapter) = adapter {
                    stage = stage.path("lora", adapter);
                }
                runs.push(shown(&self.artifacts.make(&thinking(stage, mode).with(flags)?)?));
            }
        }
        Ok(runs)
    }

    /// The stage that builds a dataset from its recorded runs.
    fn recorded(&self, base: &Base<'_>, data: &Data) -> anyhow::Result<Stage> {
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
    fn traces(&self, base: &Base<'_>, data: &Data) -> anyhow::Result<Vec<PathBuf>> {
        if !self.smoke_test || data.traces.is_empty() {
            return Ok(data.traces.clone());
        }
        let plain = data.recipe.split('-').next().unwrap_or(&data.recipe);
        let plain = Data { recipe: plain.into(), ..data.clone() };
        let rows = self.artifacts.make(&self.recorded(base, &plain)?)?;
        let file = rows.with_extension("traces.jsonl");
        smoke_test::traces(&rows, &file)?;
        Ok(vec![file])
    }

    fn dataset(&mut self, base: &Base<'_>, data: &Data) -> anyhow::Result<()> {
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
        let rows = Dataset::open(&dataset)?.summary.rows();
        labels.insert("rows".into(), toml::Value::Integer(i64::try_from(rows)?));
        for method in &self.sweep.methods {
            let ranks: &[u32] = if *method == Method::Lora { &self.sweep.ranks } else { &[0] };
            for rank in ranks {
                for seed in self.seeds() {
                    let students = self.train(base, (&dataset, &labels), (*method, *rank, seed))?;
                    self.run_trained(students, &data.name())?;
                }
            }
        }
        Ok(())
    }
}
