//! Reads a PEFT adapter folder.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor, safetensors};

use super::lora_config::LoraConfig;
use crate::error::TrainError;
use crate::model_config::ModelConfig;
use crate::settings::Target;
use crate::tensors;

const WEIGHTS: &str = "adapter_model.safetensors";
/// What peft writes before a module's path.
const PREFIX: &str = "base_model.model.";

/// A LoRA adapter.
pub(super) struct Adapter {
    pub(super) config: LoraConfig,
    folder: PathBuf,
    tensors: HashMap<String, Tensor>,
}

/// The given model, or else the one that the adapter names.
pub(super) fn base_of<'a>(
    base: Option<&'a Path>,
    adapter: Option<&'a Adapter>,
) -> Result<&'a Path, TrainError> {
    let named = base.or_else(|| adapter?.config.base.as_deref());
    named.ok_or_else(|| {
        TrainError::Base("the adapter does not name its base model; name it with --base".into())
    })
}

/// The change of one matrix.
pub(super) struct Change {
    pub(super) layer: usize,
    pub(super) target: Target,
    /// rank × in.
    pub(super) a: Tensor,
    /// out × rank.
    pub(super) b: Tensor,
    /// The factor of `b` times `a`.
    pub(super) scale: f64,
}

impl Adapter {
    pub(super) fn open(folder: &Path) -> Result<Adapter, TrainError> {
        let file = folder.join("adapter_config.json");
        let shown = file.display();
        let fault = |why: String| TrainError::Base(format!("{shown}: {why}"));
        let text = fs::read_to_string(&file).map_err(|why| {
            fault(format!("cannot be read ({why}); name a checkpoint of fixfly train lora, or a folder that peft wrote"))
        })?;
        let config = LoraConfig::read(&text).map_err(fault)?;
        let tensors = safetensors::load(folder.join(WEIGHTS), &Device::Cpu)
            .map_err(|why| fault(format!("cannot read {WEIGHTS} beside it: {why}")))?;
        Ok(Adapter { config, folder: folder.into(), tensors })
    }

    /// The changes of all matrices, in the order of the model's layers.
    pub(super) fn changes(&self, shape: &ModelConfig) -> Result<Vec<Change>, TrainError> {
        let mut changes = Vec::new();
        let mut unused: BTreeSet<&str> = self.tensors.keys().map(String::as_str).collect();
        for layer in 0..shape.num_hidden_layers {
            for target in Target::ALL {
                let module = tensors::module(layer, target);
                let [a, b] = ["A", "B"].map(|half| {
                    self.tensors.get_key_value(&format!("{PREFIX}{module}.lora_{half}.weight"))
                });
                let (Some((a_name, a)), Some((b_name, b))) = (a, b) else { continue };
                unused.remove(a_name.as_str());
                unused.remove(b_name.as_str());
                self.check(&module, [a, b], shape.sizes(target))?;
                let [a, b] = [a, b].map(|half| half.to_dtype(candle_core::DType::F32));
                let scale = self.config.scale(&module);
                changes.push(Change { layer, target, a: a?, b: b?, scale });
            }
        }
        match unused.first() {
            None => Ok(changes),
            Some(name) => Err(self.unused(name, unused.len())),
        }
    }

    /// Checks the matrices of a module.
    fn check(
        &self,
        module: &str,
        [a, b]: [&Tensor; 2],
        (out, input): (usize, usize),
    ) -> Result<(), TrainError> {
        if let Some(key) = self.config.left_out_by(module) {
            return Err(self.fault(&format!(
                "{WEIGHTS} changes {module}, but peft would not, because of `{key}`; correct adapter_config.json"
            )));
        }
        let rank = self.config.rank(module);
        match (a.dims(), b.dims()) {
            (&[a_rank, a_input], &[b_out, b_rank])
                if a_rank == rank && b_rank == rank && a_input == input && b_out == out =>
            {
                Ok(())
            }
            (&[a_rank, a_input], &[b_out, b_rank])
                if a_rank == b_rank && a_input == input && b_out == out =>
            {
                Err(self.fault(&format!(
                    "{module} has rank {a_rank} in {WEIGHTS}, but {rank} by adapter_config.json; correct `r` or `rank_pattern`"
                )))
            }
            _ => Err(self.fault(&format!(
                "{module} does not match the model; name its base model with --base"
            ))),
        }
    }

    /// The error of a tensor that is no half of a change.
    fn unused(&self, name: &str, count: usize) -> TrainError {
        let of = self.tensors.len();
        if let Some(bias) = self.config.bias.as_deref().filter(|_| name.ends_with("bias")) {
            return self.fault(&format!(
                "`bias` is {bias}, and {name} is a bias, which fixfly does not apply; merge the adapter with peft and export the merged model"
            ));
        }
        if !name.starts_with(PREFIX) || !name.contains(".lora_") || name.contains("embedding") {
            return self.fault(&format!(
                "{name} is no change of a matrix that fixfly exports; merge the adapter with peft and export the merged model"
            ));
        }
        self.fault(&format!(
            "{count} of {of} tensors do not belong to the model, such as {name}; name its base model with --base"
        ))
    }

    fn fault(&self, why: &str) -> TrainError {
        TrainError::Base(format!("the adapter in {}: {why}", self.folder.display()))
    }
}
