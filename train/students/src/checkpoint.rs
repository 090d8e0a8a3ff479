//! Checkpoints of a training.

use std::path::{Path, PathBuf};
use std::{fs, io};

use fixfly_runtime::write_whole;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

pub(crate) const FACTS: &str = "checkpoint.json";

/// `checkpoint.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Steps so far.
    pub step: usize,
    /// Epochs so far; `None` if the checkpoint was saved inside an epoch.
    pub epoch: Option<usize>,
    /// Mean loss per token with loss, over the epoch.
    pub loss: Option<f64>,
    /// The same for the validation rows; `None` without validation rows.
    pub validation: Option<f64>,
}

/// The result of a checkpoint evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvalResult {
    /// Tasks that were solved.
    pub solved: usize,
    /// Tasks that were evaluated; at least one.
    pub of: usize,
}

impl EvalResult {
    /// The share of solved tasks, from 0 to 1.
    pub fn share(self) -> f64 {
        self.solved as f64 / self.of as f64
    }

    /// The folder of a training's checkpoint evaluations. Removing it discards them.
    pub fn folder(training: &Path) -> PathBuf {
        training.join("repairs")
    }

    fn file(training: &Path, step: usize) -> PathBuf {
        EvalResult::folder(training).join(format!("step-{step:06}.json"))
    }

    /// The result of a step; `None` if it was not evaluated.
    fn open(training: &Path, step: usize) -> Result<Option<EvalResult>, TrainError> {
        let file = EvalResult::file(training, step);
        let text = match fs::read_to_string(&file) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(TrainError::io("read", &file))?,
        };
        let read = serde_json::from_str(&text).ok().filter(|result: &EvalResult| result.of > 0);
        let lost = || TrainError::Resume(format!("cannot read {}; remove it", file.display()));
        read.map(Some).ok_or_else(lost)
    }

    /// Writes the result beside a training's checkpoints, atomically.
    ///
    /// # Errors
    /// [`TrainError::Io`] if it cannot be written.
    pub fn keep(self, training: &Path, step: usize) -> Result<(), TrainError> {
        let file = EvalResult::file(training, step);
        let folder = EvalResult::folder(training);
        fs::create_dir_all(&folder).map_err(TrainError::io("make", &folder))?;
        let text = serde_json::to_string(&self).unwrap_or_default();
        write_whole(&file, text).map_err(TrainError::io("write", &file))
    }
}

/// A complete checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Its folder.
    pub folder: PathBuf,
    /// The contents of its `checkpoint.json`.
    pub facts: Facts,
    /// The result of its evaluation; `None` if it was not evaluated.
    pub eval: Option<EvalResult>,
}

impl Checkpoint {
    /// True for a checkpoint at the end of an epoch that was not evaluated on tasks.
    pub fn is_not_evaluated(&self) -> bool {
        self.facts.epoch.is_some() && self.eval.is_none()
    }
}

/// All complete checkpoints of a training, by step.
///
/// # Errors
/// [`TrainError`] if one cannot be read.
pub fn checkpoints(training: &Path) -> Result<Vec<Checkpoint>, TrainError> {
    let all = training.join("checkpoints");
    let mut found = Vec::new();
    for entry in fs::read_dir(&all).into_iter().flatten().flatten() {
        let folder = entry.path();
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with("step-") {
            continue;
        }
        let file = folder.join(FACTS);
        let text = fs::read_to_string(&file).map_err(TrainError::io("read", &file))?;
        let facts: Facts = serde_json::from_str(&text).map_err(|why| {
            TrainError::Resume(format!(
                "{} is not a checkpoint: {why}; remove its folder",
                file.display()
            ))
        })?;
        let eval = EvalResult::open(training, facts.step)?;
        found.push(Checkpoint { folder, facts, eval });
    }
    found.sort_by_key(|checkpoint| checkpoint.facts.step);
    Ok(found)
}

/// Chooses the checkpoint that solved most of its evaluation tasks. On a tie, or if none
/// was evaluated, chooses the one with the lowest validation loss, or else the last.
pub fn choose(checkpoints: &[Checkpoint]) -> Option<&Checkpoint> {
    let results = checkpoints.iter().filter_map(|one| one.eval);
    let most = results.map(EvalResult::share).max_by(f64::total_cmp);
    let best = checkpoints.iter().filter(|one| one.eval.map(EvalResult::share) == most);
    let best: Vec<&Checkpoint> = best.collect();
    let judged = best.iter().filter_map(|one| Some((one.facts.validation?, *one)));
    let least = judged.min_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, one)| one);
    least.or(best.last().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(all: &[(Option<f64>, Option<usize>)], expected: Option<usize>) {
        let checkpoints = all.iter().zip(1..).map(|((validation, solved), step)| Checkpoint {
            folder: PathBuf::new(),
            facts: Facts { step, epoch: Some(step), loss: None, validation: *validation },
            eval: solved.map(|solved| EvalResult { solved, of: 10 }),
        });
        let checkpoints: Vec<_> = checkpoints.collect();
        assert_eq!(choose(&checkpoints).map(|one| one.facts.step), expected, "{all:?}");
    }

    #[test]
    fn solved_tasks_choose_before_loss_and_loss_before_age() {
        check(&[], None);
        check(&[(None, None), (None, None)], Some(2));
        check(&[(Some(0.2), None), (Some(0.1), None), (Some(0.3), None)], Some(2));
        check(&[(Some(0.2), None), (None, None)], Some(1));
        check(&[(Some(0.2), Some(3)), (Some(0.1), Some(2))], Some(1));
        check(&[(Some(0.2), Some(3)), (Some(0.1), Some(3)), (Some(0.0), None)], Some(2));
        check(&[(None, Some(3)), (None, Some(3)), (None, Some(0))], Some(2));
    }

    #[test]
    fn a_result_is_kept_until_its_folder_is_removed() {
        let training = tempfile::tempdir().unwrap();
        let (training, result) = (training.path(), EvalResult { solved: 3, of: 8 });
        assert_eq!(EvalResult::open(training, 40).unwrap(), None);
        result.keep(training, 40).unwrap();
        assert_eq!(EvalResult::open(training, 40).unwrap(), Some(result));
        fs::write(EvalResult::file(training, 40), "{\"solved\": 0, \"of\": 0}").unwrap();
        let why = EvalResult::open(training, 40).unwrap_err().to_string();
        assert!(why.ends_with("step-000040.json; remove it"), "{why}");
        fs::remove_dir_all(EvalResult::folder(training)).unwrap();
        assert_eq!(EvalResult::open(training, 40).unwrap(), None);
    }
}
