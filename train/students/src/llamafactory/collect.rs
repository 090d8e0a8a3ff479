//! Converts LLaMA-Factory's checkpoints to fixfly's.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::LlamaFactory;
use crate::checkpoint::{Facts, checkpoints};
use crate::error::TrainError;

/// Files of a checkpoint that only resuming needs; the last two are DeepSpeed's.
const ITS_OWN: [&str; 7] = [
    "optimizer.pt",
    "scheduler.pt",
    "rng_state",
    "trainer_state.json",
    "training_args.bin",
    "latest",
    "zero_to_fp32.py",
];

/// The part of `trainer_state.json` with the losses.
#[derive(Debug, Default, Deserialize)]
struct State {
    #[serde(default)]
    epoch: f64,
    #[serde(default)]
    log_history: Vec<Logged>,
}

#[derive(Debug, Deserialize)]
struct Logged {
    step: usize,
    eval_loss: Option<f64>,
}

/// LLaMA-Factory's complete checkpoints, by step.
pub(super) fn left(made: &Path) -> Result<Vec<(usize, PathBuf)>, TrainError> {
    let mut left = Vec::new();
    for entry in fs::read_dir(made).into_iter().flatten() {
        let path = entry.map_err(TrainError::io("read", made))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let step = name.strip_prefix("checkpoint-").and_then(|step| step.parse().ok());
        // This file is written last: a checkpoint without it is incomplete.
        if let Some(step) = step.filter(|_| path.join("trainer_state.json").is_file()) {
            left.push((step, path));
        }
    }
    left.sort();
    Ok(left)
}

impl LlamaFactory {
    /// Collects the checkpoints that were not collected before.
    ///
    /// # Errors
    /// [`TrainError::Resume`] if there is none; [`TrainError::Io`] if one cannot be
    /// collected.
    pub fn collect(&self) -> Result<(), TrainError> {
        let taken = checkpoints(&self.output)?;
        let left = left(&self.made())?;
        if left.is_empty() && taken.is_empty() {
            let made = self.made();
            return Err(TrainError::Resume(format!("{} has no checkpoint yet", made.display())));
        }
        for (step, from) in left {
            if taken.iter().any(|checkpoint| checkpoint.facts.step == step) {
                continue;
            }
            take(&self.output, step, &from).map_err(TrainError::io("collect", &from))?;
        }
        Ok(())
    }
}

fn take(output: &Path, step: usize, from: &Path) -> io::Result<()> {
    let state: State = serde_json::from_str(&fs::read_to_string(from.join("trainer_state.json"))?)?;
    let judged = state
        .log_history
        .iter()
        .rev()
        .find(|logged| logged.step == step && logged.eval_loss.is_some());
    let facts = Facts {
        step,
        epoch: Some(state.epoch.round() as usize),
        loss: None,
        validation: judged.and_then(|logged| logged.eval_loss),
    };
    let all = output.join("checkpoints");
    let (partial, folder) =
        (all.join(format!("partial-{step:06}")), all.join(format!("step-{step:06}")));
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() && !ITS_OWN.iter().any(|own| name.starts_with(own)) {
            link(&path, &partial.join(name))?;
        }
    }
    fs::write(partial.join("checkpoint.json"), serde_json::to_string_pretty(&facts)?)?;
    fs::rename(&partial, &folder)
}

/// Links a file, or copies it if the file system has no hard links.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(why) if why.kind() != ErrorKind::AlreadyExists => fs::copy(from, to).map(drop),
        linked => linked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::choose;
    use crate::settings::{Method, Precision, Settings};

    fn job(output: &Path) -> LlamaFactory {
        LlamaFactory {
            base: "base".into(),
            output: output.into(),
            settings: Settings::of(Method::Lora),
            dtype: Precision::Bf16,
            template: None,
            program: "llamafactory-cli".into(),
            gpus: 0,
            nodes: 1,
            slurm: None,
        }
    }

    #[test]
    fn what_it_left_is_taken_up_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let job = job(folder.path());
        assert!(job.collect().unwrap_err().to_string().contains("has no checkpoint yet"));
        for (step, loss) in [(2, 0.5), (4, 0.75)] {
            let made = job.made().join(format!("checkpoint-{step}"));
            fs::create_dir_all(&made).unwrap();
            fs::write(made.join("adapter_model.safetensors"), "weights").unwrap();
            for own in ["optimizer.pt", "latest", "zero_to_fp32.py"] {
                fs::write(made.join(own), "its own").unwrap();
            }
            let state = format!(
                r#"{{"epoch": {}.0, "log_history": [{{"step": {step}, "loss": 1}}, {{"step": {step}, "eval_loss": {loss}}}]}}"#,
                step / 2
            );
            fs::write(made.join("trainer_state.json"), state).unwrap();
        }
        // An incomplete checkpoint.
        fs::create_dir_all(job.made().join("checkpoint-6")).unwrap();
        for _ in 0..2 {
            job.collect().unwrap();
            let all = checkpoints(folder.path()).unwrap();
            let facts: Vec<_> = all.iter().map(|one| (one.facts.step, one.facts.epoch)).collect();
            assert_eq!(facts, [(2, Some(1)), (4, Some(2))]);
            let chosen = choose(&all).unwrap();
            assert_eq!(chosen.facts.validation, Some(0.5));
            let names =
                fs::read_dir(&chosen.folder).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.collect();
            names.sort();
            assert_eq!(names, ["adapter_model.safetensors", "checkpoint.json"]);
        }
    }
}
