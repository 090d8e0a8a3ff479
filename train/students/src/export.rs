//! Exports students to the formats of other programs.

mod adapter;
mod gguf;
mod lora_config;
mod merge;
mod pre;
mod student;
mod tokenizer;

use std::fs;
use std::path::Path;

use candle_core::DType;
use serde_json::json;

use crate::error::TrainError;
use crate::settings::Settings;

pub use gguf::{write_adapter as gguf_adapter, write_model as gguf_model};
pub use merge::merge;
pub use student::{Student, peft};

/// The dtype of exported weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportDtype {
    /// 32 bits.
    F32,
    /// 16 bits.
    F16,
    /// 16 bits with the range of 32.
    Bf16,
    /// Blocks of 32 in 8 bits with one factor; GGUF files only.
    Q8_0,
}

impl ExportDtype {
    /// The dtype in a safetensors file, if it has one.
    fn dtype(self) -> Result<DType, TrainError> {
        match self {
            ExportDtype::F32 => Ok(DType::F32),
            ExportDtype::F16 => Ok(DType::F16),
            ExportDtype::Bf16 => Ok(DType::BF16),
            ExportDtype::Q8_0 => Err(TrainError::Export(
                "safetensors files have no q8_0; use f16, or `fixfly export gguf`".into(),
            )),
        }
    }
}

/// PEFT's file beside an adapter's tensors.
pub(crate) fn adapter_config(
    folder: &Path,
    base: &Path,
    settings: &Settings,
) -> Result<(), TrainError> {
    let targets: Vec<&str> = settings.targets.iter().map(|target| target.name()).collect();
    let alpha = match settings.alpha.fract() == 0.0 {
        true => json!(settings.alpha as u64),
        false => json!(settings.alpha),
    };
    let config = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "revision": null,
        "r": settings.rank,
        "lora_alpha": alpha,
        "lora_dropout": settings.dropout,
        "target_modules": targets,
        "bias": "none",
        "fan_in_fan_out": false,
        "use_rslora": false,
        "use_dora": false,
        "inference_mode": true,
    });
    let file = folder.join("adapter_config.json");
    let text = serde_json::to_string_pretty(&config).unwrap_or_default();
    fs::write(&file, text + "\n").map_err(TrainError::io("write", &file))
}

#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod tests;
