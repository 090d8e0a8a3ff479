//! Tensors of a Hugging Face folder: one file, or several shards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use crate::error::TrainError;

/// The tensors of a model folder.
pub(crate) struct Folder {
    folder: PathBuf,
    files: MmapedSafetensors,
}

/// The safetensors files of a model folder: the shards in its index, or else the only file.
pub(crate) fn shards(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let index = folder.join("model.safetensors.index.json");
    let Ok(text) = fs::read_to_string(&index) else {
        let one = folder.join("model.safetensors");
        return match one.is_file() {
            true => Ok(vec![one]),
            false => Err(TrainError::Base(format!(
                "{} has no model.safetensors; name a Hugging Face model folder",
                folder.display()
            ))),
        };
    };
    let fault = |why: String| TrainError::Base(format!("{}: {why}", index.display()));
    let index: Value = serde_json::from_str(&text).map_err(|why| fault(why.to_string()))?;
    let map = index.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| fault("`weight_map` is missing".into()))?;
    let names: BTreeMap<_, _> = map.values().filter_map(|v| Some((v.as_str()?, ()))).collect();
    Ok(names.into_keys().map(|name| folder.join(name)).collect())
}

impl Folder {
    /// Maps the files of a folder into memory.
    #[expect(unsafe_code, reason = "candle maps files; they are read and not written meanwhile")]
    pub(super) fn open(folder: &Path) -> Result<Folder, TrainError> {
        let shards = shards(folder)?;
        // SAFETY: as with every mapped file, nobody may write to it at the same time.
        let files = unsafe { MmapedSafetensors::multi(&shards) }.map_err(|why| {
            TrainError::Base(format!("cannot read the weights in {}: {why}", folder.display()))
        })?;
        Ok(Folder { folder: folder.into(), files })
    }

    /// Reads a tensor and checks its sizes.
    pub(super) fn get(
        &self,
        name: &str,
        sizes: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor, TrainError> {
        let of = self.folder.display();
        let found = self.files.get(name).map_err(|_| {
            TrainError::Base(format!("the weights in {of} lack {name}, which config.json requires"))
        })?;
        if found.shape() != sizes {
            return Err(TrainError::Base(format!(
                "{name} in {of} has shape {:?}, but config.json requires {sizes:?}",
                found.shape()
            )));
        }
        Ok(self.files.load(name, device)?.to_dtype(dtype)?)
    }
}
