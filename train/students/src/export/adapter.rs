//! Reads a PEFT adapter folder.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor, safetensors};
use serde_json::Value;

use crate::error::TrainError;
use crate::model_config::ModelConfig;
use crate::settings::Target;

/// A LoRA adapter.
pub(super) struct Adapter {
    pub(super) rank: usize,
    pub(super) alpha: f64,
    /// The base model that the adapter names.
    pub(super) base: Option<PathBuf>,
    folder: PathBuf,
    tensors: HashMap<String, Tensor>,
}

/// The given model folder, or else the one that the adapter names.
pub(super) fn base_of<'a>(
    base: Option<&'a Path>,
    adapter: Option<&'a Adapter>,
) -> Result<&'a Path, TrainError> {
    let named = base.or_else(|| adapter?.base.as_deref());
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
}

impl Adapter {
    pub(super) fn open(folder: &Path) -> Result<Adapter, TrainError> {
        let file = folder.join("adapter_config.json");
        let shown = file.display();
        let fault = |why: String| TrainError::Base(format!("{shown}: {why}"));
        let text = fs::read_to_string(&file).map_err(|why| {
            fault(format!("cannot be read ({why}); name a checkpoint of fixfly train lora, or a folder that peft wrote"))
        })?;
        let config: Value = serde_json::from_str(&text).map_err(|why| fault(why.to_string()))?;
        for name in ["use_dora", "use_rslora", "fan_in_fan_out"] {
            if config.get(name) == Some(&Value::Bool(true)) {
                return Err(fault(format!("{name} is not supported")));
            }
        }
        let rank = config
            .get("r")
            .and_then(Value::as_u64)
            .ok_or_else(|| fault("`r` is missing".into()))?;
        let alpha = config.get("lora_alpha").and_then(Value::as_f64);
        let alpha = alpha.ok_or_else(|| fault("`lora_alpha` is missing".into()))?;
        let base = config.get("base_model_name_or_path").and_then(Value::as_str).map(PathBuf::from);
        let tensors = safetensors::load(folder.join("adapter_model.safetensors"), &Device::Cpu)
            .map_err(|why| {
                fault(format!("cannot read adapter_model.safetensors beside it: {why}"))
            })?;
        Ok(Adapter { rank: rank as usize, alpha, base, folder: folder.into(), tensors })
    }

    /// The changes of all matrices, in the order of the model's layers.
    pub(super) fn changes(&self, shape: &ModelConfig) -> Result<Vec<Change>, TrainError> {
        let mut changes = Vec::new();
        for layer in 0..shape.num_hidden_layers {
            for target in Target::ALL {
                let half = |half| {
                    let (part, name) = (target.part(), target.name());
                    let layers = "base_model.model.model.layers";
                    self.tensors.get(&format!("{layers}.{layer}.{part}.{name}.lora_{half}.weight"))
                };
                let (Some(a), Some(b)) = (half("A"), half("B")) else { continue };
                let (out, input) = shape.sizes(target);
                if a.dims() != [self.rank, input] || b.dims() != [out, self.rank] {
                    let name = target.name();
                    return Err(
                        self.fault(&format!("{name} of layer {layer} does not match the model"))
                    );
                }
                let [a, b] = [a, b].map(|half| half.to_dtype(candle_core::DType::F32));
                changes.push(Change { layer, target, a: a?, b: b? });
            }
        }
        match changes.len() * 2 == self.tensors.len() {
            true => Ok(changes),
            false => Err(self.fault(&format!(
                "{} of {} tensors do not belong to the model",
                self.tensors.len() - changes.len() * 2,
                self.tensors.len()
            ))),
        }
    }

    fn fault(&self, why: &str) -> TrainError {
        TrainError::Base(format!(
            "the adapter in {}: {why}; name its base model with --base",
            self.folder.display()
        ))
    }
}
