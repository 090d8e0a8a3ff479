//! What a sweep tries, as its file says.

use std::path::{Path, PathBuf};

use fixfly_train::Method;
use serde::Deserialize;

use crate::failure::Usage;
use crate::report::labels::Mode;

/// A sweep: all of its lists with each other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Sweep {
    /// What it is for, for whoever reads the file.
    #[serde(rename = "about")]
    _about: String,
    pub(super) benchmark: String,
    pub(super) benchmark_dir: Option<PathBuf>,
    /// Flags of `fixfly bench build` for a benchmark that the sweep makes.
    pub(super) build: Option<toml::Table>,
    /// Wording of every run, and so of every dataset.
    pub(super) prompts: Option<PathBuf>,
    pub(super) model: Vec<Model>,
    #[serde(default)]
    pub(super) dataset: Vec<Data>,
    #[serde(default = "lora")]
    pub(super) methods: Vec<Method>,
    #[serde(default = "thirty_two")]
    pub(super) ranks: Vec<u32>,
    /// None: as the model does of itself.
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
    /// The report's tables; none: all that have a row.
    #[serde(default)]
    pub(super) tables: Vec<String>,
    /// Flags of `fixfly export gguf` for whole models.
    #[serde(default)]
    pub(super) export: toml::Table,
    /// Flags of `fixfly train`, whatever the method.
    #[serde(default)]
    pub(super) train: toml::Table,
    /// And of one method.
    #[serde(default)]
    pub(super) lora: toml::Table,
    #[serde(default)]
    pub(super) full: toml::Table,
    /// Flags of `fixfly run`.
    #[serde(default)]
    pub(super) run: toml::Table,
    /// Of the run that records what a school is about.
    #[serde(default)]
    pub(super) tasks: toml::Table,
    /// And of the runs that record a model's own attempts to learn from.
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
    /// Its Hugging Face folder.
    pub(super) base: Option<PathBuf>,
    /// Or flags of `fixfly train blank`, which makes one of random weights.
    pub(super) blank: Option<toml::Table>,
    /// And of `fixfly train full`, which teaches it the benchmark's tasks of the
    /// split train with the original methods.
    pub(super) school: Option<toml::Table>,
}

/// A dataset to be.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    /// A recipe that comes with fixfly, or a file.
    pub(super) recipe: String,
    /// Recorded runs, as `fixfly dataset build` takes them; none: the model's own
    /// attempts at the split train.
    #[serde(default)]
    pub(super) runs: Vec<String>,
    #[serde(default)]
    pub(super) traces: Vec<PathBuf>,
    /// What a report tells it by, beside its name and rows.
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
        let text = std::fs::read_to_string(file)
            .map_err(|why| Usage(format!("cannot read {shown}: {why}")))?;
        // However the file is named, what is beside it has one name.
        let file = file.canonicalize().unwrap_or(file.to_path_buf());
        let folder = file.parent().unwrap_or(Path::new("/"));
        Sweep::read(&text, folder).map_err(|why| Usage(format!("{shown}: {why}")))
    }

    /// Paths are beside the file.
    fn read(text: &str, folder: &Path) -> Result<Sweep, String> {
        let mut sweep: Sweep = toml::from_str(text).map_err(|why| why.to_string())?;
        if let Some(fault) = sweep.fault() {
            return Err(fault);
        }
        sweep.benchmark_dir = sweep.benchmark_dir.map(|path| folder.join(path));
        sweep.prompts = sweep.prompts.map(|path| folder.join(path));
        for model in &mut sweep.model {
            model.base = model.base.take().map(|base| folder.join(base));
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

    fn fault(&self) -> Option<String> {
        let named = |list: &str| Some(format!("{list} is empty; name at least one"));
        if self.model.is_empty() {
            return named("model");
        }
        for Model { name, base, blank, school } in &self.model {
            if base.is_some() == blank.is_some() {
                return Some(format!("the model {name} needs `base` or `blank`, and not both"));
            }
            if school.is_some() && blank.is_none() {
                return Some(format!("the model {name} has `school`, which is for `blank` ones"));
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

/// Flags as words: `max-tokens = 500` is `--max-tokens 500`, and so is `max_tokens`.
pub(super) fn words(flags: &toml::Table) -> Result<Vec<String>, Usage> {
    let text = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        _ => None,
    };
    let mut words = Vec::new();
    for (key, value) in flags {
        let flag = format!("--{}", key.replace('_', "-"));
        let said = match value {
            toml::Value::Boolean(true) => vec![flag],
            toml::Value::Boolean(false) => Vec::new(),
            toml::Value::Array(all) => {
                let all: Option<Vec<String>> = all.iter().map(text).collect();
                all.map(|all| vec![flag, all.join(",")]).unwrap_or_default()
            }
            one => text(one).map(|text| vec![flag, text]).unwrap_or_default(),
        };
        if said.is_empty() && *value != toml::Value::Boolean(false) {
            return Err(Usage(format!("`{key}` is no flag: give text, a number, true or a list")));
        }
        words.extend(said);
    }
    Ok(words)
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
        let both = "the model Q needs `base` or `blank`, and not both";
        assert_eq!(fault("name = 'Q', base = 'q', blank = {}"), both);
        assert_eq!(fault("name = 'Q'"), both);
        let school = "the model Q has `school`, which is for `blank` ones";
        assert_eq!(fault("name = 'Q', base = 'q', school = {}"), school);
    }

    #[test]
    fn flags_are_words() {
        let said =
            |text: &str| words(&toml::from_str(text).unwrap()).map_err(|why| why.to_string());
        let all = "dropout = 0.05\nepochs = 3\nmemory = '40GB'\nrecord_tokens = true\ntarget = ['q_proj', 'v_proj']\nx = false";
        let expected =
            "--dropout 0.05 --epochs 3 --memory 40GB --record-tokens --target q_proj,v_proj";
        assert_eq!(said(all).unwrap().join(" "), expected);
        assert!(said("a = { b = 1 }").unwrap_err().contains("is no flag"));
    }

    #[test]
    fn the_experiments_that_come_with_fixfly_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benchmarks/experiments");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|file| file.is_file());
        let sweeps: Vec<_> = files.map(|file| Sweep::open(&file).unwrap()).collect();
        assert!(sweeps.len() >= 4, "{} files", sweeps.len());
        for sweep in sweeps {
            for flags in [&sweep.train, &sweep.lora, &sweep.full, &sweep.run, &sweep.export] {
                words(flags).unwrap();
            }
        }
    }
}
