//! The file of a sweep.

use std::path::{Path, PathBuf};

use clap::Args;
use fixfly_policies::models::beside;
use fixfly_report::Mode;
use fixfly_students::Method;
use serde::Deserialize;

use crate::failure::Usage;
use crate::{config, run, train};

/// A sweep: the product of all of its lists.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Sweep {
    /// A description, for readers of the file.
    #[serde(rename = "about")]
    _about: String,
    pub(super) benchmark: String,
    pub(super) benchmark_dir: Option<PathBuf>,
    /// Flags of `fixfly bench build`, if the sweep builds its benchmark.
    pub(super) build: Option<toml::Table>,
    /// Prompts of every run, and so of every dataset.
    pub(super) prompts: Option<PathBuf>,
    pub(super) model: Vec<Model>,
    #[serde(default)]
    pub(super) dataset: Vec<Data>,
    #[serde(default = "lora")]
    pub(super) methods: Vec<Method>,
    #[serde(default = "thirty_two")]
    pub(super) ranks: Vec<u32>,
    /// If empty, the model's default.
    #[serde(default)]
    pub(super) modes: Vec<Mode>,
    #[serde(default)]
    pub(super) checkpoints: Checkpoints,
    /// Parts of the benchmark; with `validation` a report chooses checkpoints by repairs.
    #[serde(default = "benchmark")]
    pub(super) splits: Vec<String>,
    /// Runs of each, with seeds from 0.
    #[serde(default = "one")]
    pub(super) repeats: u64,
    /// The report's tables; if empty, all that have a row.
    #[serde(default)]
    pub(super) tables: Vec<String>,
    /// Flags of `fixfly export gguf` for whole models.
    #[serde(default)]
    pub(super) export: toml::Table,
    /// Flags of `fixfly train`, for every method.
    #[serde(default)]
    pub(super) train: toml::Table,
    /// Flags of `fixfly train lora`.
    #[serde(default)]
    pub(super) lora: toml::Table,
    #[serde(default)]
    pub(super) full: toml::Table,
    /// Flags of `fixfly run`.
    #[serde(default)]
    pub(super) run: toml::Table,
    /// Flags of the run that records the tasks of pretraining.
    #[serde(default)]
    pub(super) tasks: toml::Table,
    /// Flags of the runs that record a model's own attempts to train on.
    #[serde(default)]
    pub(super) attempts: toml::Table,
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

/// A model before training.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    pub(super) name: String,
    /// Its Hugging Face folder, or the name of a fetched model.
    pub(super) base: Option<PathBuf>,
    /// Or flags of `fixfly train init`, which creates a randomly initialised model.
    pub(super) init: Option<toml::Table>,
    /// Flags of `fixfly train full`, which pretrains it on the tasks of the training
    /// split with the original methods.
    pub(super) pretrain: Option<toml::Table>,
}

/// A dataset to build.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    /// A recipe that comes with fixfly, or a file.
    pub(super) recipe: String,
    /// Recorded runs, as `fixfly dataset build` takes them; if empty, the model's own
    /// attempts on the training split.
    #[serde(default)]
    pub(super) runs: Vec<String>,
    #[serde(default)]
    pub(super) traces: Vec<PathBuf>,
    /// Its labels in a report, besides its name and rows.
    #[serde(default)]
    pub(super) labels: toml::Table,
}

impl Data {
    /// The recipe's name, or that of its file.
    pub(super) fn name(&self) -> String {
        match self.recipe.strip_suffix(".toml") {
            Some(path) => {
                Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            None => self.recipe.clone(),
        }
    }

    /// The folder of `[TEACHER=]RUN`.
    pub(super) fn run_folder(run: &str) -> PathBuf {
        match run.split_once('=') {
            Some((_, folder)) => folder.into(),
            None => run.into(),
        }
    }
}

/// Which checkpoints of a training are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Checkpoints {
    /// The one with the least validation loss.
    #[default]
    Chosen,
    /// That of each epoch.
    All,
}

impl Sweep {
    pub(super) fn open(file: &Path) -> Result<Sweep, Usage> {
        let shown = file.display();
        let text = fixfly_runtime::read_text(file)
            .map_err(|why| Usage(format!("cannot read {shown}: {why}")))?;
        // The canonical path, so that the paths in the file do not depend on its name.
        let file = file.canonicalize().unwrap_or(file.to_path_buf());
        let folder = file.parent().unwrap_or(Path::new("/"));
        Sweep::read(&text, folder).map_err(|why| Usage(format!("{shown}: {why}")))
    }

    /// Parses the file; its paths are relative to `folder`.
    fn read(text: &str, folder: &Path) -> Result<Sweep, String> {
        let mut sweep: Sweep = toml::from_str(text).map_err(|why| why.to_string())?;
        if let Some(fault) = sweep.fault() {
            return Err(fault);
        }
        sweep.with_hyphens();
        sweep.benchmark_dir = sweep.benchmark_dir.map(|path| folder.join(path));
        sweep.prompts = sweep.prompts.map(|path| folder.join(path));
        for model in &mut sweep.model {
            model.base = model.base.take().map(|base| beside(folder, &base));
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
            &mut self.tasks,
            &mut self.attempts,
            &mut self.export,
        ];
        let of_models =
            self.model.iter_mut().flat_map(|model| [&mut model.init, &mut model.pretrain]);
        let optional = of_models.chain([&mut self.build]).flatten();
        for flags in tables.into_iter().chain(optional) {
            let all = std::mem::take(flags).into_iter();
            *flags = all.map(|(key, value)| (key.replace('_', "-"), value)).collect();
        }
    }

    /// Checks every table of flags, so that a mistake ends the sweep before its first
    /// stage.
    pub(super) fn check(&self) -> Result<(), Usage> {
        let run = [("benchmark", &*self.benchmark), ("output", "x")];
        let train = [("base", "x"), ("dataset", "x"), ("output", "x")];
        for flags in [&self.run, &self.tasks, &self.attempts] {
            parsed::<run::Flags>("run", &run, &[flags])?;
        }
        for flags in [&self.lora, &self.full] {
            parsed::<train::Native>("train", &train, &[&self.train, flags])?;
        }
        for model in &self.model {
            let init = [("dataset", "x"), ("output", "x")];
            let flags = model.init.iter().collect::<Vec<_>>();
            parsed::<train::InitFlags>("train init", &init, &flags)?;
            let flags = model.pretrain.iter().collect::<Vec<_>>();
            parsed::<train::Native>("train full", &train, &flags)?;
        }
        Ok(())
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
        (self.repeats == 0).then(|| "repeats is 0; it must be at least 1".into())
    }
}

/// Parses flags by name together with those that the sweep sets.
fn parsed<T: Args>(verb: &str, own: &[(&str, &str)], flags: &[&toml::Table]) -> Result<(), Usage> {
    let mut all = toml::Table::new();
    all.extend(own.iter().map(|(key, value)| ((*key).to_string(), (*value).into())));
    for flags in flags {
        all.extend((*flags).clone());
    }
    config::flags::<T>(verb, &all).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "about = 'x'\nbenchmark = 'django'\nmodel = [{ name = 'Q', base = 'q' }]\n";

    #[test]
    fn paths_are_beside_the_file() {
        let text = format!(
            "{LEAST}[[dataset]]\nrecipe = 'mine.toml'\nruns = ['a', 'nano=b']\n[run]\nturns = 3\n"
        );
        let sweep = Sweep::read(&text, Path::new("/s")).unwrap();
        let data = &sweep.dataset[0];
        assert_eq!((&*data.recipe, &*data.name()), ("/s/mine.toml", "mine"));
        assert_eq!(data.runs, ["/s/a", "nano=/s/b"]);
        assert_eq!(sweep.model[0].base.as_deref(), Some(Path::new("/s/q")));
        assert_eq!((sweep.ranks, sweep.repeats), (vec![32], 1));
    }

    #[test]
    fn a_base_may_be_the_name_of_a_model() {
        let sweep = Sweep::read(&LEAST.replace("'q'", "'smollm2-135m'"), Path::new("/s")).unwrap();
        assert_eq!(sweep.model[0].base.as_deref(), Some(Path::new("smollm2-135m")));
    }

    #[track_caller]
    fn check(more: &str, expected: &str) {
        let fault = Sweep::read(&format!("{LEAST}{more}"), Path::new(".")).unwrap_err();
        assert!(fault.contains(expected), "{fault}");
    }

    #[test]
    fn faults_say_what_to_change() {
        check("repeats = 0", "repeats is 0");
        check("ranks = []", "ranks is empty; name at least one");
        check("modes = ['loud']", "unknown variant `loud`");
        check("rank = 3", "unknown field `rank`");
    }

    #[test]
    fn a_model_is_there_or_made() {
        let fault = |model: &str| {
            let text = format!("about = 'x'\nbenchmark = 'django'\nmodel = [{{ {model} }}]");
            Sweep::read(&text, Path::new(".")).unwrap_err()
        };
        let both = "the model Q needs either `base` or `init`";
        assert_eq!(fault("name = 'Q', base = 'q', init = {}"), both);
        assert_eq!(fault("name = 'Q'"), both);
        let pretrain = "the model Q has `pretrain`, which needs `init`";
        assert_eq!(fault("name = 'Q', base = 'q', pretrain = {}"), pretrain);
    }

    #[test]
    fn flags_may_be_written_with_underscores() {
        let text = "about = 'x'\nbenchmark = 'faults'\n[build]\nmax_chars = 9\n[[model]]\nname = 'Q'\n\
                    [model.init]\nhidden_size = 2\n[run]\nmax_tokens = 8\ntask-id = 'a'\n";
        let sweep = Sweep::read(text, Path::new(".")).unwrap();
        let (build, init) = (sweep.build.as_ref().unwrap(), sweep.model[0].init.as_ref().unwrap());
        let keys = [build, init, &sweep.run].into_iter().flat_map(toml::Table::keys);
        let keys: Vec<&str> = keys.map(String::as_str).collect();
        assert_eq!(keys.join(" "), "max-chars hidden-size max-tokens task-id");
    }

    #[test]
    fn the_experiments_that_come_with_fixfly_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benchmarks/experiments");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|file| file.is_file());
        let sweeps: Vec<Sweep> = files.map(|file| Sweep::open(&file).unwrap()).collect();
        assert!(sweeps.len() >= 4, "{} files", sweeps.len());
        for sweep in sweeps {
            sweep.check().unwrap();
        }
    }
}
