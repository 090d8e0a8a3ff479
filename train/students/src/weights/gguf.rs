//! Tensors of a GGUF file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{DType, Device, Tensor};
use fixfly_runtime::{GgmlType, GgufHeader, GgufTensor};

use crate::error::TrainError;
use crate::matrix::{Matrix, Quantised, row_bytes};
use crate::model_config::ModelConfig;
use crate::params::Weight;
use crate::tensors::{gguf_name, reordered};

/// Factors of the rotary position embedding, one for each pair of a head.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The formats that are read.
const FORMATS: [(GgmlType, GgmlDType); 11] = [
    (GgmlType::F32, GgmlDType::F32),
    (GgmlType::F16, GgmlDType::F16),
    (GgmlType::BF16, GgmlDType::BF16),
    (GgmlType::Q8_0, GgmlDType::Q8_0),
    (GgmlType::Q4_0, GgmlDType::Q4_0),
    (GgmlType::Q4_1, GgmlDType::Q4_1),
    (GgmlType::Q5_0, GgmlDType::Q5_0),
    (GgmlType::Q5_1, GgmlDType::Q5_1),
    (GgmlType::Q4_K, GgmlDType::Q4K),
    (GgmlType::Q5_K, GgmlDType::Q5K),
    (GgmlType::Q6_K, GgmlDType::Q6K),
];

/// The tensors of a GGUF file.
pub(crate) struct Gguf {
    pub(super) header: GgufHeader,
    pub(super) shape: ModelConfig,
}

/// A tensor's bytes, with its rows in the order of Hugging Face.
struct Stored {
    bytes: Vec<u8>,
    format: GgmlDType,
}

impl Gguf {
    /// Reads a tensor, dequantised.
    pub(super) fn get(
        &self,
        name: &str,
        sizes: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor, TrainError> {
        let Stored { bytes, format } = self.stored(name, sizes)?;
        Ok(dense(bytes, format, sizes)?.to_device(device)?.to_dtype(dtype)?)
    }

    /// Reads a matrix, in the format of the file.
    pub(super) fn matrix(
        &self,
        name: &str,
        [rows, width]: [usize; 2],
        dtype: DType,
        device: &Device,
    ) -> Result<Matrix, TrainError> {
        let Stored { bytes, format } = self.stored(name, &[rows, width])?;
        if (format, dtype) == (GgmlDType::F32, DType::F32) {
            let tensor = dense(bytes, format, &[rows, width])?.to_device(device)?;
            return Ok(Matrix::Plain(Weight::Fixed(tensor)));
        }
        let matrix = Quantised::new(&bytes, (rows, width), format, dtype, device)?;
        Ok(Matrix::Quantised(matrix))
    }

    fn stored(&self, name: &str, sizes: &[usize]) -> Result<Stored, TrainError> {
        let place = gguf_name(name).unwrap_or_else(|| name.to_string());
        let (tensor, format) = found(&self.header, &place, sizes)?;
        let bytes = bytes(&self.header, tensor)?;
        let bytes = match (self.shape.reordered_heads(name), sizes.last()) {
            (Some(heads), Some(width)) => reordered(&bytes, row_bytes(format, *width), heads),
            _ => bytes,
        };
        Ok(Stored { bytes, format })
    }
}

/// A tensor in f32.
fn dense(bytes: Vec<u8>, format: GgmlDType, sizes: &[usize]) -> candle_core::Result<Tensor> {
    let storage = QStorage::from_data(bytes.into(), &Device::Cpu, format)?;
    QTensor::new(storage, sizes)?.dequantize(&Device::Cpu)
}

/// A tensor of these sizes, and its format.
fn found<'a>(
    header: &'a GgufHeader,
    place: &str,
    sizes: &[usize],
) -> Result<(&'a GgufTensor, GgmlDType), TrainError> {
    let shown = header.file().display();
    let fault = |why: String| TrainError::Base(format!("{shown}: {why}"));
    let tensor = header.tensor(place).ok_or_else(|| {
        fault(format!("it has no tensor `{place}`, which its architecture requires"))
    })?;
    let expected: Vec<u64> = sizes.iter().rev().map(|size| *size as u64).collect();
    if tensor.dimensions != expected {
        return Err(fault(format!(
            "the tensor `{place}` has the dimensions {:?}, but its metadata requires {expected:?}",
            tensor.dimensions
        )));
    }
    match FORMATS.iter().find(|(kind, _)| *kind == tensor.kind) {
        Some((_, format)) => Ok((tensor, *format)),
        None => {
            let names = FORMATS.iter().filter_map(|(kind, _)| kind.name()).collect::<Vec<_>>();
            Err(fault(format!(
                "the tensor `{place}` is stored as {}; supported: {}; quantise the model to one of these",
                tensor.kind,
                names.join(", ")
            )))
        }
    }
}

fn bytes(header: &GgufHeader, tensor: &GgufTensor) -> Result<Vec<u8>, TrainError> {
    let file = header.file();
    let length = tensor.bytes().and_then(|bytes| usize::try_from(bytes).ok());
    let length = length.ok_or_else(|| {
        TrainError::Base(format!("{}: the size of a tensor cannot be right", file.display()))
    })?;
    let mut bytes = vec![0; length];
    let mut opened = File::open(file).map_err(TrainError::io("read", file))?;
    opened
        .seek(SeekFrom::Start(header.data_offset().saturating_add(tensor.offset)))
        .and_then(|_| opened.read_exact(&mut bytes))
        .map_err(TrainError::io("read", file))?;
    Ok(bytes)
}

/// Refuses a file that lacks a tensor of the model, or has one that fixfly does not apply.
///
/// # Errors
/// [`TrainError::Base`] that names the tensor.
pub(crate) fn check(header: &GgufHeader, shape: &ModelConfig) -> Result<(), TrainError> {
    let mut unused: BTreeSet<&str> = header.tensors().keys().map(String::as_str).collect();
    unused.remove(ROPE_FACTORS);
    for (name, sizes) in shape.tensors() {
        let place = gguf_name(&name).unwrap_or_default();
        found(header, &place, &sizes)?;
        unused.remove(place.as_str());
    }
    if let Some(name) = unused.first() {
        return Err(TrainError::Base(format!(
            "{}: the tensor `{name}` is none that fixfly applies in the architecture {}; train other models with fixfly train llamafactory",
            header.file().display(),
            shape.family.gguf()
        )));
    }
    Ok(())
}

/// The factors of the rotary position embedding, if the file has some.
///
/// # Errors
/// [`TrainError`] if they cannot be read.
pub(crate) fn rope_factors(
    header: &GgufHeader,
    pairs: usize,
) -> Result<Option<Vec<f64>>, TrainError> {
    if header.tensor(ROPE_FACTORS).is_none() {
        return Ok(None);
    }
    let (tensor, format) = found(header, ROPE_FACTORS, &[pairs])?;
    if format != GgmlDType::F32 {
        return Err(TrainError::Base(format!(
            "{}: the tensor `{ROPE_FACTORS}` is stored as {}; supported: F32",
            header.file().display(),
            tensor.kind
        )));
    }
    let bytes = bytes(header, tensor)?;
    let (numbers, _) = bytes.as_chunks::<4>();
    Ok(Some(numbers.iter().map(|number| f64::from(f32::from_le_bytes(*number))).collect()))
}

/// The format that most of a file's bytes are in.
pub(crate) fn format(header: &GgufHeader) -> GgmlDType {
    let bytes = |kind: GgmlType| -> u64 {
        let of_kind = header.tensors().values().filter(|tensor| tensor.kind == kind);
        of_kind.filter_map(GgufTensor::bytes).sum()
    };
    let most = FORMATS.iter().max_by_key(|(kind, _)| bytes(*kind));
    most.map_or(GgmlDType::F32, |(_, format)| *format)
}
