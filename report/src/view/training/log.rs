//! A training's folder: its record, its log and its checkpoints. A training that runs is
//! read like one that has ended.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::error::ViewError;

/// The record, which every training writes first.
pub(super) const RECORD: &str = "train.json";
const LOG: &str = "log.jsonl";
/// The log of a training by LLaMA-Factory.
const FACTORY_LOG: &str = "llamafactory/out/trainer_log.jsonl";

/// A training so far.
#[derive(Default)]
pub(super) struct Training {
    pub(super) name: String,
    pub(super) record: Value,
    pub(super) steps: Vec<Step>,
    /// Validation losses, by step.
    pub(super) validations: Vec<(usize, f64)>,
    pub(super) checkpoints: Vec<Checkpoint>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Step {
    pub(super) step: usize,
    pub(super) epoch: f64,
    pub(super) loss: f64,
    pub(super) rate: Option<f64>,
    pub(super) gradient: Option<f64>,
    pub(super) speed: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Checkpoint {
    pub(super) step: usize,
    pub(super) epoch: Option<usize>,
    pub(super) loss: Option<f64>,
    pub(super) validation: Option<f64>,
    pub(super) solved: Option<Solved>,
}

/// The result of a checkpoint evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(super) struct Solved {
    solved: usize,
    of: usize,
}

impl Solved {
    pub(super) fn share(self) -> f64 {
        self.solved as f64 / self.of.max(1) as f64
    }

    pub(super) fn text(self) -> String {
        format!("{} of {} ({:.1} %)", self.solved, self.of, 100.0 * self.share())
    }
}

/// A line of `log.jsonl`.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Step {
        step: usize,
        epoch: f64,
        loss: Option<f64>,
        rate: Option<f64>,
        gradient: Option<f64>,
        tokens: usize,
        seconds: f64,
    },
    Validation {
        step: usize,
        loss: Option<f64>,
    },
    /// Evaluations of checkpoints are read from their own files.
    #[serde(other)]
    Other,
}

/// A line of LLaMA-Factory's log.
#[derive(Deserialize)]
struct FactoryLine {
    current_steps: usize,
    loss: Option<f64>,
    eval_loss: Option<f64>,
    lr: Option<f64>,
    epoch: Option<f64>,
}

/// `checkpoint.json`.
#[derive(Deserialize)]
struct Facts {
    step: usize,
    epoch: Option<usize>,
    loss: Option<f64>,
    validation: Option<f64>,
}

impl Training {
    pub(super) fn open(folder: &Path) -> Result<Training, ViewError> {
        let mut training = Training {
            record: read(&folder.join(RECORD))?
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default(),
            checkpoints: checkpoints(folder)?,
            ..Training::default()
        };
        match read(&folder.join(LOG))? {
            Some(text) => lines(&text).for_each(|line| training.add(line)),
            None => {
                let text = read(&folder.join(FACTORY_LOG))?.unwrap_or_default();
                lines(&text).for_each(|line| training.add_factory(line));
            }
        }
        Ok(training)
    }

    fn add(&mut self, line: Line) {
        match line {
            Line::Step { step, epoch, loss: Some(loss), rate, gradient, tokens, seconds } => {
                let speed = (seconds > 0.0).then(|| tokens as f64 / seconds);
                self.steps.push(Step { step, epoch, loss, rate, gradient, speed });
            }
            Line::Validation { step, loss: Some(loss) } => self.validations.push((step, loss)),
            Line::Step { .. } | Line::Validation { .. } | Line::Other => {}
        }
    }

    fn add_factory(&mut self, line: FactoryLine) {
        let step = line.current_steps;
        self.validations.extend(line.eval_loss.map(|loss| (step, loss)));
        self.steps.extend(line.loss.map(|loss| Step {
            step,
            epoch: line.epoch.unwrap_or_default(),
            loss,
            rate: line.lr,
            ..Step::default()
        }));
    }

    /// A value of the record as text; empty if it is not there.
    pub(super) fn text(&self, pointer: &str) -> String {
        // Records of older versions have another key.
        let pointers = [pointer, if pointer == "/dtype" { "/precision" } else { pointer }];
        match pointers.iter().find_map(|pointer| self.record.pointer(pointer)) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        }
    }

    pub(super) fn method(&self) -> String {
        let method = self.text("/settings/method");
        match (method.as_str(), self.text("/settings/rank").as_str()) {
            ("lora", rank) if !rank.is_empty() => format!("LoRA, rank {rank}"),
            _ => method,
        }
    }

    fn epochs(&self) -> Option<f64> {
        self.record.pointer("/settings/epochs").and_then(Value::as_f64)
    }

    pub(super) fn is_complete(&self) -> bool {
        let last = self.steps.last().map(|step| step.epoch);
        matches!((last, self.epochs()), (Some(last), Some(all)) if last >= all - 1e-6)
    }

    /// How far it is.
    pub(super) fn state(&self) -> String {
        let Some(last) = self.steps.last() else { return "no step yet".into() };
        let of = self.epochs().map(|all| format!(" of {all}")).unwrap_or_default();
        let state = if self.is_complete() { "complete" } else { "not complete" };
        format!("{state}: step {}, epoch {:.2}{of}", last.step, last.epoch)
    }

    pub(super) fn last_loss(&self) -> Option<f64> {
        self.steps.last().map(|step| step.loss)
    }

    pub(super) fn least_validation(&self) -> Option<f64> {
        let all = self.checkpoints.iter().filter_map(|checkpoint| checkpoint.validation);
        all.min_by(f64::total_cmp)
    }

    pub(super) fn most_solved(&self) -> Option<Solved> {
        let all = self.checkpoints.iter().filter_map(|checkpoint| checkpoint.solved);
        all.max_by(|one, other| one.share().total_cmp(&other.share()))
    }
}

/// The text of a file; `None` if there is none.
fn read(file: &Path) -> Result<Option<String>, ViewError> {
    match fs::read(file) {
        // A process that was killed may have cut a character off.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(why) => Err(ViewError::Read { file: file.into(), why }),
    }
}

/// The lines of a log. A running training may be writing the last one.
fn lines<T: DeserializeOwned>(text: &str) -> impl Iterator<Item = T> + '_ {
    text.lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// The folders in a folder; none if it does not exist.
pub(super) fn folders(folder: &Path) -> Result<Vec<PathBuf>, ViewError> {
    let error = |why| ViewError::Read { file: folder.into(), why };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(error(why)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.map_err(error)?.path();
        folders.extend(path.is_dir().then_some(path));
    }
    folders.sort();
    Ok(folders)
}

fn checkpoints(training: &Path) -> Result<Vec<Checkpoint>, ViewError> {
    let mut found = Vec::new();
    for folder in folders(&training.join("checkpoints"))? {
        let facts = read(&folder.join("checkpoint.json"))?;
        let Some(facts) = facts.and_then(|text| serde_json::from_str::<Facts>(&text).ok()) else {
            continue;
        };
        let Facts { step, epoch, loss, validation } = facts;
        let evaluation = training.join("repairs").join(format!("step-{step:06}.json"));
        let solved = read(&evaluation)?.and_then(|text| serde_json::from_str(&text).ok());
        found.push(Checkpoint { step, epoch, loss, validation, solved });
    }
    found.sort_by_key(|checkpoint| checkpoint.step);
    Ok(found)
}
