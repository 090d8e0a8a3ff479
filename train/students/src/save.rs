//! Checkpoints on disk: the trained parameters in a common format, and the optimiser's
//! state, which resuming needs.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

use candle_core::{Device, Tensor, safetensors};

use crate::checkpoint::{Checkpoint, FACTS, Facts, checkpoints};
use crate::error::TrainError;
use crate::optimiser::AdamW;
use crate::params::Params;

const STATE: &str = "optimiser.safetensors";
const PARTIAL: &str = "partial-";

/// Writes a checkpoint atomically. Then removes the files of earlier checkpoints that only
/// resuming needs.
pub(crate) fn write(
    training: &Path,
    facts: &Facts,
    params: &Params,
    optimiser: &AdamW,
    beside: impl Fn(&Path) -> Result<(), TrainError>,
    file: &str,
) -> Result<Checkpoint, TrainError> {
    let all = training.join("checkpoints");
    let folder = all.join(format!("step-{:06}", facts.step));
    let partial = all.join(format!("{PARTIAL}{:06}", facts.step));
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(TrainError::io("make", &partial))?;
    let learned = params.all().iter().map(|param| (param.name.clone(), param.value.clone()));
    save(&learned.collect(), &partial.join(file))?;
    save(&state(params, optimiser), &partial.join(STATE))?;
    beside(&partial)?;
    let text = serde_json::to_string_pretty(facts).unwrap_or_default();
    fs::write(partial.join(FACTS), text).map_err(TrainError::io("write", &partial))?;
    sync(&partial)?;
    let earlier = checkpoints(training)?;
    // A run that was stopped may have left one for the same step.
    let _ = fs::remove_dir_all(&folder);
    fs::rename(&partial, &folder).map_err(TrainError::io("write", &folder))?;
    File::open(&all).and_then(|all| all.sync_all()).map_err(TrainError::io("write", &all))?;
    for old in earlier.iter().filter(|old| old.facts.step < facts.step) {
        let gone = match old.facts.epoch {
            Some(_) => fs::remove_file(old.folder.join(STATE)),
            None => fs::remove_dir_all(&old.folder),
        };
        if let Err(why) = gone
            && why.kind() != std::io::ErrorKind::NotFound
        {
            return Err(TrainError::io("remove", &old.folder)(why));
        }
    }
    Ok(Checkpoint { folder, facts: facts.clone(), eval: None })
}

fn save(tensors: &HashMap<String, Tensor>, file: &Path) -> Result<(), TrainError> {
    safetensors::save(tensors, file).map_err(|why| TrainError::Save { file: file.into(), why })
}

fn state(params: &Params, optimiser: &AdamW) -> HashMap<String, Tensor> {
    let each = params.all().iter().zip(&optimiser.means).zip(&optimiser.squares);
    each.flat_map(|((param, mean), square)| {
        let name = &param.name;
        [(format!("mean.{name}"), mean.clone()), (format!("square.{name}"), square.clone())]
    })
    .collect()
}

/// Flushes all files of a folder to the disk.
fn sync(folder: &Path) -> Result<(), TrainError> {
    let entries = fs::read_dir(folder).map_err(TrainError::io("read", folder))?;
    for path in entries.flatten().map(|entry| entry.path()).chain([folder.to_path_buf()]) {
        let file = File::open(&path).and_then(|file| file.sync_all());
        file.map_err(TrainError::io("write", &path))?;
    }
    Ok(())
}

/// Restores the last checkpoint of a training. Returns its step.
pub(crate) fn resume(
    training: &Path,
    params: &mut Params,
    optimiser: &mut AdamW,
    file: &str,
    device: &Device,
) -> Result<usize, TrainError> {
    for entry in fs::read_dir(training.join("checkpoints")).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            let partial = entry.path();
            fs::remove_dir_all(&partial).map_err(TrainError::io("remove", &partial))?;
        }
    }
    let Some(last) = checkpoints(training)?.pop() else { return Ok(0) };
    let read = |name: &str| {
        let file = last.folder.join(name);
        safetensors::load(&file, device).map_err(|why| {
            TrainError::Resume(format!(
                "cannot read {}: {why}; remove the folder that contains it",
                file.display()
            ))
        })
    };
    let (values, state) = (read(file)?, read(STATE)?);
    let lacks = |name: &str| {
        TrainError::Resume(format!("{} lacks {name}; remove the folder", last.folder.display()))
    };
    for at in 0..params.all().len() {
        let name = params.all()[at].name.clone();
        let of = |map: &HashMap<String, Tensor>, name: &str| {
            map.get(name).cloned().ok_or_else(|| lacks(name))
        };
        optimiser.means[at] = of(&state, &format!("mean.{name}"))?;
        optimiser.squares[at] = of(&state, &format!("square.{name}"))?;
        params.set(at, of(&values, &name)?)?;
    }
    optimiser.steps = last.facts.step;
    Ok(last.facts.step)
}
