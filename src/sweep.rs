//! `fixfly sweep`: datasets × methods × ranks × checkpoints × modes × repeats,
//! trained, run and tabulated. Each stage is a command of fixfly, run in this process;
//! its output is stored under a name that contains the hash of its inputs.

mod artifacts;
mod file;
mod serve;
mod smoke_test;
mod stage;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use fixfly_datasets::Dataset;
use fixfly_policies::models::resolve;
use fixfly_report::{Mode, set_text};
use fixfly_students::{Checkpoint, Method, checkpoints, choose};

use crate::built::{Feature, require};
use crate::report;
use crate::terminal::Terminal;
use crate::train::interrupt;
use artifacts::ArtifactStore;
use file::{Checkpoints, Data, Model, Sweep};
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
    let sweep = Sweep::open(&flags.file)?;
    let sweep = if flags.smoke_test { smoke_test::reduced(sweep) } else { sweep };
    sweep.check()?;
    for base in sweep.model.iter().filter_map(|model| model.base.as_ref()) {
        resolve(base)?;
    }
    require(&[Feature::Train, Feature::Llama])?;
    let stop = interrupt::listen(terminal)?;
    let artifacts = ArtifactStore::open(&flags.output, stop, terminal)?;
    let (smoke_test, runs) = (flags.smoke_test, Vec::new());
    let mut bench =
        SweepRun { folder: None, smoke_test, sweep: &sweep, artifacts: &artifacts, runs };
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
    folder: PathBuf,
    whole: PathBuf,
    labels: toml::Table,
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
        let folder = match (&model.base, &model.init) {
            (Some(base), _) => resolve(base)?,
            (None, flags) => self.pretrained(model, &flags.clone().unwrap_or_default())?,
        };
        let labels = toml::Table::from_iter([("model".to_string(), model.name.clone().into())]);
        let whole = self.artifacts.make(
            &Stage::new("models", &model.name, Verb::ExportGguf)
                .path("from", &folder)
                .of(&[&folder])
                .with(&self.sweep.export)?
                .file("gguf"),
        )?;
        let base = Base { name: &model.name, folder, whole, labels };
        let mut labels = base.labels.clone();
        labels.insert("method".into(), "base".into());
        let name = base.name.to_string();
        self.run(&[Served { whole: base.whole.clone(), adapter: None, name, labels }])?;
        for data in &self.sweep.dataset {
            self.dataset(&base, data)?;
        }
        Ok(())
    }

    /// A randomly initialised model, pretrained if the sweep has `pretrain`.
    fn pretrained(&self, model: &Model, flags: &toml::Table) -> anyhow::Result<PathBuf> {
        let tasks = self.runs("tasks", "null", "train").set("turns", 0);
        let tasks = self.artifacts.make(&tasks.with(&self.sweep.tasks)?)?;
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

    /// Runs of the model itself on the training split, in each mode.
    fn attempts(&self, base: &Base<'_>) -> anyhow::Result<Vec<String>> {
        let mut runs = Vec::new();
        for mode in self.modes() {
            let said = mode.map_or_else(String::new, |mode| format!("-{}", mode.label()));
            let stage = self.runs(&format!("{}{said}-train", base.name), "llama", "train");
            let stage =
                thinking(stage.path("model", &base.whole), mode).with(&self.sweep.attempts)?;
            runs.push(shown(&self.artifacts.make(&stage)?));
        }
        Ok(runs)
    }

    /// The stage that builds a dataset from its recorded runs.
    fn recorded(&self, base: &Base<'_>, data: &Data) -> anyhow::Result<Stage> {
        let mut stage = Stage::new("datasets", &data.name(), Verb::BuildDataset);
        let runs = match (data.runs.is_empty(), self.smoke_test) {
            (true, _) => self.attempts(base)?,
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
        stage = stage.set("runs", runs).set("recipe", &*data.recipe);
        if self.smoke_test {
            stage = stage.with(&smoke_test::short())?;
        }
        Ok(stage.of(&[Path::new(&data.recipe)]))
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
        let tokenizer = base.folder.join("tokenizer.json");
        let mut stage = self.recorded(base, data)?.of(&[&tokenizer]);
        for traces in self.traces(base, data)? {
            stage = stage.path("traces", &traces).of(&[&traces]);
        }
        let dataset =
            self.artifacts.make(&stage.set("format", "tokens").path("tokenizer", &tokenizer))?;
        let mut labels = base.labels.clone();
        labels.extend(data.labels.clone());
        labels.entry("dataset").or_insert_with(|| data.name().into());
        let rows = Dataset::open(&dataset)?.summary.rows();
        labels.insert("rows".into(), toml::Value::Integer(i64::try_from(rows)?));
        for method in &self.sweep.methods {
            let ranks: &[u32] = if *method == Method::Lora { &self.sweep.ranks } else { &[0] };
            for rank in ranks {
                self.train(base, (&dataset, &labels), *method, *rank)?;
            }
        }
        Ok(())
    }

    fn train(
        &mut self,
        model: &Base<'_>,
        (dataset, labels): (&Path, &toml::Table),
        method: Method,
        rank: u32,
    ) -> anyhow::Result<()> {
        let mut labels = labels.clone();
        labels.insert("method".into(), method.name().into());
        let named = |key: &str| {
            labels.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_string()
        };
        let mut name = format!("{}-{}-{}", model.name, named("dataset"), method.name());
        let mut stage = Stage::new("students", &name, Verb::Train(method));
        let flags = match method {
            Method::Full => &self.sweep.full,
            Method::Lora => {
                name = format!("{name}-r{rank}");
                stage = Stage::new("students", &name, Verb::Train(method)).set("rank", rank);
                labels.insert("rank".into(), toml::Value::Integer(rank.into()));
                &self.sweep.lora
            }
        };
        let stage = stage.of(&[&model.folder]).path("base", &model.folder).path("dataset", dataset);
        let student = self.artifacts.make(&stage.with(&self.sweep.train)?.with(flags)?)?;
        let mut students = Vec::new();
        for checkpoint in self.wanted(&student)? {
            let epoch = checkpoint.facts.epoch.unwrap_or(0);
            let name = format!("{name}-e{epoch}");
            let stage = Stage::new("adapters", &name, Verb::ExportGguf);
            let mut stage = stage.path("from", &checkpoint.folder);
            stage = match method {
                Method::Lora => stage.path("base", &model.folder),
                Method::Full => stage.with(&self.sweep.export)?,
            };
            let made = self.artifacts.make(&stage.file("gguf"))?;
            let mut labels = labels.clone();
            labels.insert("epoch".into(), toml::Value::Integer(i64::try_from(epoch)?));
            let (whole, adapter) = match method {
                Method::Lora => (model.whole.clone(), Some(made)),
                Method::Full => (made, None),
            };
            students.push(Served { whole, adapter, name, labels });
        }
        self.run(&students)
    }

    /// The checkpoints of a training to run.
    fn wanted(&self, student: &Path) -> anyhow::Result<Vec<Checkpoint>> {
        let all = checkpoints(student)?;
        let ends = all.iter().filter(|one| one.facts.epoch.is_some());
        Ok(match self.sweep.checkpoints {
            Checkpoints::Chosen => choose(&all).into_iter().cloned().collect(),
            Checkpoints::All => ends.cloned().collect(),
        })
    }

    /// `None`: the model's default.
    fn modes(&self) -> Vec<Option<Mode>> {
        match self.sweep.modes.is_empty() {
            true => vec![None],
            false => self.sweep.modes.iter().copied().map(Some).collect(),
        }
    }

    /// Runs each student in each mode on each split, `repeats` times. One engine
    /// serves all adapters of a model.
    fn run(&mut self, students: &[Served]) -> anyhow::Result<()> {
        for mode in self.modes() {
            let mut stages = Vec::new();
            for served in students {
                for split in &self.sweep.splits {
                    for repeat in 0..self.sweep.repeats {
                        stages.push((served, self.once(served, mode, split, repeat)?));
                    }
                }
            }
            let mut to_do = Vec::new();
            for (served, stage) in &stages {
                to_do.extend(self.artifacts.to_do(stage)?.filter(|_| served.adapter.is_some()));
            }
            let mut swapped = serve::students(&to_do)?.into_iter();
            for (served, stage) in stages {
                let run = match served.adapter {
                    None => self.artifacts.make(&stage)?,
                    Some(_) => self.artifacts.make_by(&stage, |_| match swapped.next() {
                        Some(student) => student.run(self.artifacts.terminal()),
                        None => anyhow::bail!("a student of {} is missing", served.name),
                    })?,
                };
                let mut labels = served.labels.clone();
                if let Some(mode) = mode {
                    labels.insert("mode".into(), mode.label().into());
                }
                labels.insert("path".into(), self.artifacts.within(&run).into());
                self.runs.push(labels);
            }
        }
        Ok(())
    }

    fn once(
        &self,
        served: &Served,
        mode: Option<Mode>,
        split: &str,
        repeat: u64,
    ) -> anyhow::Result<Stage> {
        let said = mode.map_or_else(String::new, |mode| format!("-{}", mode.label()));
        let name = format!("{}{said}-{split}-{repeat}", served.name);
        let stage = self.runs(&name, "llama", split).path("model", &served.whole);
        let mut stage = stage.set("seed", i64::try_from(repeat)?);
        if let Some(adapter) = &served.adapter {
            stage = stage.path("lora", adapter);
        }
        Ok(thinking(stage, mode).with(&self.sweep.run)?)
    }
}
