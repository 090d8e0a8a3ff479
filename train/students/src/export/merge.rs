//! Merges an adapter into the weights of its model.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor, safetensors};

use super::ExportDtype;
use super::adapter::{Adapter, Change, base_of};
use crate::base_model::Base;
use crate::error::TrainError;
use crate::tensors::module;
use crate::weights::shards;

/// Writes the model folder that results from `base` and `adapter`, shard by shard, in the
/// base's dtype or in `dtype`. `base` overrides the model that the adapter names. A GGUF file
/// is dequantised, and written in f16 if `dtype` is `None`.
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
    let base = Base::open(base_of(base, adapter.as_ref())?)?;
    base.check_as_folder()?;
    let dtype = dtype.map(ExportDtype::dtype).transpose()?;
    let mut changes = HashMap::new();
    if let Some(adapter) = &adapter {
        for change in adapter.changes(base.config())? {
            changes.insert(format!("{}.weight", module(change.layer, change.target)), change);
        }
    }
    fs::create_dir_all(output).map_err(TrainError::io("make", output))?;
    if base.is_gguf() {
        write_gguf_base(&base, &mut changes, output, dtype.unwrap_or(DType::F16))?;
    } else {
        write_shards(&base, &mut changes, output, dtype)?;
    }
    if let Some(name) = changes.keys().next() {
        return Err(TrainError::Base(format!(
            "{} lacks {name}, which the adapter changes",
            base.path().display()
        )));
    }
    base.write_beside(output)
}

/// Writes the shards of a folder, with the changes that belong to them.
fn write_shards(
    base: &Base,
    changes: &mut HashMap<String, Change>,
    output: &Path,
    dtype: Option<DType>,
) -> Result<(), TrainError> {
    let base = base.path();
    for shard in shards(base)? {
        let mut tensors = HashMap::new();
        for (name, tensor) in safetensors::load(&shard, &Device::Cpu)? {
            let kept = dtype.unwrap_or(tensor.dtype());
            let tensor = match changes.remove(&name) {
                Some(change) => added(&tensor, &change.a, &change.b, change.scale)?,
                None => tensor,
            };
            tensors.insert(name, tensor.to_dtype(kept)?);
        }
        let name = shard.file_name().unwrap_or(shard.as_os_str());
        safetensors::save(&tensors, output.join(name))?;
    }
    let index = "model.safetensors.index.json";
    if base.join(index).is_file() {
        fs::copy(base.join(index), output.join(index))
            .map_err(TrainError::io("copy to", output))?;
    }
    Ok(())
}

/// Writes the dequantised weights of a GGUF file, with the changes.
fn write_gguf_base(
    base: &Base,
    changes: &mut HashMap<String, Change>,
    output: &Path,
    dtype: DType,
) -> Result<(), TrainError> {
    let weights = base.weights()?;
    let mut tensors = HashMap::new();
    for (name, sizes) in base.config().tensors() {
        let tensor = weights.get(&name, &sizes, DType::F32, &Device::Cpu)?;
        let tensor = match changes.remove(&name) {
            Some(change) => added(&tensor, &change.a, &change.b, change.scale)?,
            None => tensor,
        };
        tensors.insert(name, tensor.to_dtype(dtype)?);
    }
    Ok(safetensors::save(&tensors, output.join("model.safetensors"))?)
}

fn added(weight: &Tensor, a: &Tensor, b: &Tensor, scale: f64) -> candle_core::Result<Tensor> {
    weight.to_dtype(DType::F32)? + (b.matmul(a)? * scale)?
}
