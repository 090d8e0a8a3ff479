//! What a training leaves behind at a step.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::TrainError;

pub(super) const FACTS: &str = "checkpoint.json";

/// What a checkpoint says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Steps that were taken.
    pub step: usize,
    /// Epochs that are over; none where it was made between two ends.
    pub epoch: Option<usize>,
    /// Mean loss of a learned token over the epoch.
    pub loss: Option<f64>,
    /// The same of the validation rows; none where there are none.
    pub validation: Option<f64>,
}

/// A checkpoint that is whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Where it is.
    pub folder: PathBuf,
    /// What it says.
    pub facts: Facts,
}

/// All whole checkpoints of a training, by step.
///
/// # Errors
/// [`TrainError`] where one cannot be read.
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
        let facts = serde_json::from_str(&text).map_err(|why| {
            TrainError::Resume(format!(
                "{} is no checkpoint: {why}; remove its folder",
                file.display()
            ))
        })?;
        found.push(Checkpoint { folder, facts });
    }
    found.sort_by_key(|checkpoint| checkpoint.facts.step);
    Ok(found)
}

/// The one to take: of the ends of epochs that with the least validation loss, else the last.
pub fn choose(checkpoints: &[Checkpoint]) -> Option<&Checkpoint> {
    let judged = checkpoints.iter().filter_map(|one| Some((one.facts.validation?, one)));
    let best = judged.min_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, one)| one);
    best.or(checkpoints.last())
}
