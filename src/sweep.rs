//! `fixfly sweep`: datasets × methods × ranks × checkpoints × modes × repeats,
//! trained, run and tabulated. Each step is a command of fixfly's own, and what
//! it makes is kept under a name that says what it was made of.

mod file;
mod workshop;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use fixfly_train::student::{Checkpoint, checkpoints, choose};
use fixfly_train::{Dataset, Method};

use crate::failure::Usage;
use crate::report::labels::Mode;
use crate::terminal::Terminal;
use crate::train::interrupt;
use file::{Checkpoints, Data, Model, Sweep};
use workshop::{Step, Workshop};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly sweep benchmarks/experiments/table-5.2.toml -o sweeps/5.2
  fixfly sweep mine.toml -o sweeps/mine
  fixfly report sweeps/mine/runs.toml --html report.html

Ctrl-C, kill -9 and the same command again: what was made is not made twice. Two sweeps
in one folder share what they have in common. docs/training.md says what a file may say.")]
pub(crate) struct Flags {
    /// What is to be tried, a TOML file; its paths are beside it
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Folder for all that is made
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

pub(crate) fn sweep(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let sweep = Sweep::open(&flags.file)?;
    if cfg!(not(all(feature = "train", feature = "llama"))) {
        return Err(Usage(
            "this fixfly was built without training or without students: build it with `cargo build --release --features train,llama`".into(),
        )
        .into());
    }
    let stop = interrupt::listen(terminal)?;
    let workshop = Workshop::open(&flags.output, stop, terminal)?;
    let mut bench = Bench { sweep: &sweep, workshop: &workshop, runs: Vec::new() };
    for model in &sweep.model {
        bench.model(model)?;
    }
    let set = flags.output.join("runs.toml");
    std::fs::write(&set, set_text(&bench.runs)?)
        .with_context(|| format!("cannot write {}", set.display()))?;
    let page = flags.output.join("report.html").display().to_string();
    let mut words = vec!["report".into(), set.display().to_string(), "--html".into(), page];
    if !sweep.tables.is_empty() {
        words.extend(["--table".into(), sweep.tables.join(",")]);
    }
    workshop.show(&words)
}

/// The file of a set of runs. Plain values are the same in JSON and in TOML.
fn set_text(runs: &[toml::Table]) -> anyhow::Result<String> {
    let mut text = String::new();
    for run in runs {
        text += "[[run]]\n";
        for (key, value) in run {
            text += &format!("{key} = {}\n", serde_json::to_string(value)?);
        }
        text += "\n";
    }
    Ok(text)
}

/// What goes through a sweep.
struct Bench<'a> {
    sweep: &'a Sweep,
    workshop: &'a Workshop,
    /// What was run, as a report reads it.
    runs: Vec<toml::Table>,
}

/// A student, as `fixfly run` takes it.
struct Served<'a> {
    whole: &'a Path,
    adapter: Option<&'a Path>,
    name: &'a str,
    /// What tables tell it by.
    labels: toml::Table,
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

impl Bench<'_> {
    fn model(&mut self, model: &Model) -> anyhow::Result<()> {
        let labels = toml::Table::from_iter([("model".to_string(), model.name.clone().into())]);
        let whole = self.workshop.make(
            &Step::new("models", &model.name, &["export", "gguf", &shown(&model.base)])
                .of(&[&model.base])
                .with(&self.sweep.export)?
                .file("gguf"),
        )?;
        let mut base = labels.clone();
        base.insert("method".into(), "base".into());
        self.run(&Served { whole: &whole, adapter: None, name: &model.name, labels: base })?;
        for data in &self.sweep.dataset {
            self.dataset(model, &whole, data, &labels)?;
        }
        Ok(())
    }

    fn dataset(
        &mut self,
        model: &Model,
        whole: &Path,
        data: &Data,
        labels: &toml::Table,
    ) -> anyhow::Result<()> {
        let tokenizer = model.base.join("tokenizer.json");
        let mut step = Step::new("datasets", &data.name(), &["dataset", "build"]).of(&[&tokenizer]);
        for run in &data.runs {
            step = step.word(run).of(&[&Data::run_folder(run)]);
        }
        for traces in &data.traces {
            step = step.word("--traces").word(&shown(traces)).of(&[traces]);
        }
        let recipe = step.word("--recipe").word(&data.recipe).of(&[Path::new(&data.recipe)]);
        let dataset = self.workshop.make(
            &recipe.word("--write").word("tokens").word("--tokenizer").word(&shown(&tokenizer)),
        )?;
        let mut labels = labels.clone();
        labels.extend(data.labels.clone());
        labels.entry("dataset").or_insert_with(|| data.name().into());
        let rows = Dataset::open(&dataset)?.summary.rows();
        labels.insert("rows".into(), toml::Value::Integer(i64::try_from(rows)?));
        for method in &self.sweep.methods {
            let ranks: &[u32] = if *method == Method::Lora { &self.sweep.ranks } else { &[0] };
            for rank in ranks {
                self.train(model, whole, (&dataset, &labels), *method, *rank)?;
            }
        }
        Ok(())
    }

    fn train(
        &mut self,
        model: &Model,
        whole: &Path,
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
        let (mut words, rank_said) = (vec!["train", method.name()], rank.to_string());
        let flags = match method {
            Method::Full => &self.sweep.full,
            Method::Lora => {
                name = format!("{name}-r{rank}");
                words.extend(["--rank", &rank_said]);
                labels.insert("rank".into(), toml::Value::Integer(rank.into()));
                &self.sweep.lora
            }
        };
        let step = Step::new("students", &name, &words);
        let (base, data) = (shown(&model.base), shown(dataset));
        let step = step.of(&[&model.base]).word("--base").word(&base).word("--dataset").word(&data);
        let student = self.workshop.make(&step.with(&self.sweep.train)?.with(flags)?)?;
        for checkpoint in self.wanted(&student)? {
            let epoch = checkpoint.facts.epoch.unwrap_or(0);
            let name = format!("{name}-e{epoch}");
            let mut step =
                Step::new("adapters", &name, &["export", "gguf", &shown(&checkpoint.folder)]);
            step = match method {
                Method::Lora => step.word("--base").word(&base),
                Method::Full => step.with(&self.sweep.export)?,
            };
            let made = self.workshop.make(&step.file("gguf"))?;
            let mut labels = labels.clone();
            labels.insert("epoch".into(), toml::Value::Integer(i64::try_from(epoch)?));
            let (whole, adapter) = match method {
                Method::Lora => (whole, Some(&*made)),
                Method::Full => (&*made, None),
            };
            self.run(&Served { whole, adapter, name: &name, labels })?;
        }
        Ok(())
    }

    /// The checkpoints of a training that are run.
    fn wanted(&self, student: &Path) -> anyhow::Result<Vec<Checkpoint>> {
        let all = checkpoints(student)?;
        let ends = all.iter().filter(|one| one.facts.epoch.is_some());
        Ok(match self.sweep.checkpoints {
            Checkpoints::Chosen => choose(&all).into_iter().cloned().collect(),
            Checkpoints::All => ends.cloned().collect(),
        })
    }

    /// One student in each mode, on each split, as often as asked.
    fn run(&mut self, served: &Served<'_>) -> anyhow::Result<()> {
        let sweep = self.sweep;
        let modes: Vec<Option<Mode>> = match sweep.modes.is_empty() {
            true => vec![None],
            false => sweep.modes.iter().copied().map(Some).collect(),
        };
        for mode in modes {
            for split in &sweep.splits {
                for repeat in 0..sweep.repeats {
                    self.once(served, mode, split, repeat)?;
                }
            }
        }
        Ok(())
    }

    fn once(
        &mut self,
        served: &Served<'_>,
        mode: Option<Mode>,
        split: &str,
        repeat: u64,
    ) -> anyhow::Result<()> {
        let sweep = self.sweep;
        let said = mode.map_or_else(String::new, |mode| format!("-{}", mode.label()));
        let name = format!("{}{said}-{split}-{repeat}", served.name);
        let words = ["run", &*sweep.benchmark, "--policy", "llama", "--split", split];
        let mut step = Step::new("runs", &name, &words).word("--model").word(&shown(served.whole));
        step = step.word("--seed").word(&repeat.to_string());
        if let Some(folder) = &sweep.benchmark_dir {
            let manifest = folder.join("manifest.jsonl");
            step = step.word("--benchmark-dir").word(&shown(folder)).of(&[&manifest]);
        }
        if let Some(adapter) = served.adapter {
            step = step.word("--lora").word(&shown(adapter));
        }
        if let Some(mode) = mode {
            step = step.word("--think").word(match mode {
                Mode::Think => "yes",
                Mode::Nothink => "no",
            });
        }
        let run = self.workshop.make(&step.with(&sweep.run)?)?;
        let mut labels = served.labels.clone();
        if let Some(mode) = mode {
            labels.insert("mode".into(), mode.label().into());
        }
        labels.insert("path".into(), self.workshop.within(&run).into());
        self.runs.push(labels);
        Ok(())
    }
}
