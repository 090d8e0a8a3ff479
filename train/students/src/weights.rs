//! Reads the tensors of a base model, by their names in Hugging Face folders.

mod folder;
mod gguf;

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use fixfly_runtime::GgufHeader;

use crate::error::TrainError;
use crate::matrix::{Matrix, Quantised};
use crate::model_config::ModelConfig;
use crate::params::Weight;
use crate::settings::BaseDtype;
use folder::Folder;
use gguf::Gguf;

pub(crate) use folder::shards;
pub(crate) use gguf::{check, format, rope_factors};

/// The tensors of a base model. Each is read on request.
pub(crate) enum Weights {
    /// Those of a Hugging Face folder.
    Folder(Folder),
    /// Those of a GGUF file.
    Gguf(Gguf),
}

impl Weights {
    /// Maps the files of a folder into memory.
    pub(crate) fn folder(folder: &Path) -> Result<Weights, TrainError> {
        Folder::open(folder).map(Weights::Folder)
    }

    /// Opens the tensors of a GGUF file that passed [`check`].
    pub(crate) fn gguf(header: &GgufHeader, shape: &ModelConfig) -> Weights {
        Weights::Gguf(Gguf { header: header.clone(), shape: shape.clone() })
    }

    /// Reads a tensor and checks its sizes.
    pub(crate) fn get(
        &self,
        name: &str,
        sizes: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor, TrainError> {
        match self {
            Weights::Folder(folder) => folder.get(name, sizes, dtype, device),
            Weights::Gguf(gguf) => gguf.get(name, sizes, dtype, device),
        }
    }

    /// Reads a frozen matrix, to be held as `held` and computed with in `dtype`.
    pub(crate) fn matrix(
        &self,
        name: &str,
        (rows, width): (usize, usize),
        held: BaseDtype,
        dtype: DType,
        device: &Device,
    ) -> Result<Matrix, TrainError> {
        let sizes = [rows, width];
        match (held, self) {
            (BaseDtype::Quantized, Weights::Gguf(gguf)) => gguf.matrix(name, sizes, dtype, device),
            (BaseDtype::Bf16, _) if dtype != DType::BF16 => {
                let matrix = self.get(name, &sizes, DType::F32, &Device::Cpu)?;
                Ok(Matrix::Quantised(Quantised::bf16(&matrix, dtype, device)?))
            }
            _ => Ok(Matrix::Plain(Weight::Fixed(self.get(name, &sizes, dtype, device)?))),
        }
    }
}
