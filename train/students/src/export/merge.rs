//! Merges an adapter into the weights of its model.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor, safetensors};

use super::adapter::{Adapter, base_of};
use super::{ExportDtype, beside_model};
use crate::error::TrainError;
use crate::model_config::ModelConfig;
use crate::weights::shards;

/// Writes the model folder that results from `base` and `adapter`, shard by shard, in the
/// base's dtype or in `dtype`. `base` overrides the model folder that the adapter names.
///
/// # Errors
/// [`TrainError`] if the two do not match, or a file cannot be written.
pub fn merge(
    base: Option<&Path>,
    adapter: Option<&Path>,
    output: &Path,
    dtype: Option<ExportDtype>,
) -> Result<(), TrainError> {
    let adapter = adapter.map(Adapter::open).transpose()?;
    let base = base_of(base, adapter.as_ref())?;
    let shape = ModelConfig::open(base)?;
    let mut changes = HashMap::new();
    if let Some(adapter) = &adapter {
        for change in adapter.changes(&shape)? {
            let (part, name) = (change.target.part(), change.target.name());
            let name = format!("model.layers.{}.{part}.{name}.weight", change.layer);
            changes.insert(name, change);
        }
    }
    fs::create_dir_all(output).map_err(TrainError::io("make", output))?;
    for shard in shards(base)? {
        let mut tensors = HashMap::new();
        for (name, tensor) in safetensors::load(&shard, &Device::Cpu)? {
            let kept = dtype.map_or(tensor.dtype(), ExportDtype::dtype);
            let tensor = match changes.remove(&name) {
                Some(change) => added(&tensor, &change.a, &change.b, change.scale)?,
                None => tensor,
            };
            tensors.insert(name, tensor.to_dtype(kept)?);
        }
        let name = shard.file_name().unwrap_or(shard.as_os_str());
        safetensors::save(&tensors, output.join(name))?;
    }
    if let Some(name) = changes.keys().next() {
        return Err(TrainError::Base(format!(
            "{} lacks {name}, which the adapter changes",
            base.display()
        )));
    }
    let index = "model.safetensors.index.json";
    if base.join(index).is_file() {
        fs::copy(base.join(index), output.join(index))
            .map_err(TrainError::io("copy to", output))?;
    }
    beside_model(output, base)
}

fn added(weight: &Tensor, a: &Tensor, b: &Tensor, scale: f64) -> candle_core::Result<Tensor> {
    weight.to_dtype(DType::F32)? + (b.matmul(a)? * scale)?
}
