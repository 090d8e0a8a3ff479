//! Writes GGUF files for llama.cpp: an adapter alone, or a whole model with its tokenizer
//! and chat template. Follows `convert_lora_to_gguf.py` and `convert_hf_to_gguf.py`.

use std::fs;
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use fixfly_runtime::WholeFile;

use super::adapter::{Adapter, Change, base_of};
use super::{ExportDtype, tokenizer};
use crate::base_model::Base;
use crate::error::TrainError;
use crate::model_config::ModelConfig;
use crate::tensors::{gguf_name, module};
use crate::weights::Weights;

/// llama.cpp's codes for the dtype of a tensor, and for the type of a file.
fn kind(numbers: ExportDtype) -> (GgmlDType, u32) {
    match numbers {
        ExportDtype::F32 => (GgmlDType::F32, 0),
        ExportDtype::F16 => (GgmlDType::F16, 1),
        ExportDtype::Bf16 => (GgmlDType::BF16, 32),
        ExportDtype::Q8_0 => (GgmlDType::Q8_0, 7),
    }
}

/// A tensor with its rows in llama.cpp's order.
fn placed(shape: &ModelConfig, name: &str, tensor: Tensor) -> candle_core::Result<Tensor> {
    let Some(heads) = shape.reordered_heads(name) else { return Ok(tensor) };
    let (out, columns) = tensor.dims2()?;
    let halves = tensor.reshape((heads, 2, shape.head_dim / 2, columns))?;
    halves.transpose(1, 2)?.reshape((out, columns))
}

/// The name of a tensor in a GGUF file.
fn place(name: &str) -> Result<String, TrainError> {
    gguf_name(name).ok_or_else(|| TrainError::Base(format!("llama.cpp has no name for {name}")))
}

/// Tensors and values of a file that is not written yet.
struct Gguf {
    numbers: ExportDtype,
    values: Vec<(String, Value)>,
    tensors: Vec<(String, QTensor)>,
}

impl Gguf {
    fn new(numbers: ExportDtype, architecture: &str, holds: &str) -> Gguf {
        let text = |text: &str| Value::String(text.into());
        let values = vec![
            ("general.architecture".into(), text(architecture)),
            ("general.type".into(), text(holds)),
            ("general.file_type".into(), Value::U32(kind(numbers).1)),
        ];
        Gguf { numbers, values, tensors: Vec::new() }
    }

    fn value(&mut self, key: impl Into<String>, value: Value) {
        self.values.push((key.into(), value));
    }

    fn tensor(&mut self, name: String, tensor: &Tensor) -> candle_core::Result<()> {
        let kind = if tensor.rank() < 2 { GgmlDType::F32 } else { kind(self.numbers).0 };
        let tensor = tensor.to_dtype(DType::F32)?.contiguous()?;
        self.tensors.push((name, QTensor::quantize(&tensor, kind)?));
        Ok(())
    }

    /// Writes the file atomically.
    fn write(&self, file: &Path) -> Result<(), TrainError> {
        let values: Vec<_> = self.values.iter().map(|(key, value)| (&**key, value)).collect();
        let tensors: Vec<_> = self.tensors.iter().map(|(name, tensor)| (&**name, tensor)).collect();
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(TrainError::io("make", folder))?;
        }
        let mut out = WholeFile::create(file).map_err(TrainError::io("write", file))?;
        gguf_file::write(&mut out, &values, &tensors)?;
        out.finish().map_err(TrainError::io("write", file))
    }
}

/// The alpha of a file. llama.cpp takes 0 for "no factor", and peft for "no change".
fn file_alpha(alpha: f64) -> f64 {
    if alpha == 0.0 { 1.0 } else { alpha }
}

/// `b` of a change. llama.cpp's factor is the file's alpha over the matrix's rank; what the
/// change's own factor differs by is in the numbers.
fn scaled(change: &Change, alpha: f64) -> candle_core::Result<Tensor> {
    let applied = alpha / change.a.dim(0)? as f64;
    match change.scale == applied {
        true => Ok(change.b.clone()),
        false => &change.b * (change.scale / applied),
    }
}

/// Writes an adapter for llama.cpp, in f32. `base` overrides the model that the adapter
/// names: a folder or a GGUF file, which the adapter is then served on.
///
/// # Errors
/// [`TrainError`] if the adapter cannot be read or does not match its model.
pub fn write_adapter(adapter: &Path, base: Option<&Path>, file: &Path) -> Result<(), TrainError> {
    let adapter = Adapter::open(adapter)?;
    let base = Base::open(base_of(base, Some(&adapter))?)?;
    let shape = base.config();
    let mut gguf = Gguf::new(ExportDtype::F32, shape.family.gguf(), "adapter");
    gguf.value("adapter.type", Value::String("lora".into()));
    let alpha = file_alpha(adapter.config.alpha);
    gguf.value("adapter.lora.alpha", Value::F32(alpha as f32));
    for change in adapter.changes(shape)? {
        let name = format!("{}.weight", module(change.layer, change.target));
        let (b, place) = (scaled(&change, alpha)?, place(&name)?);
        gguf.tensor(format!("{place}.lora_a"), &change.a)?;
        gguf.tensor(format!("{place}.lora_b"), &placed(shape, &name, b)?)?;
    }
    gguf.write(file)
}

/// Writes a whole model for llama.cpp, with its tokenizer and chat template.
///
/// # Errors
/// [`TrainError`] if the model folder lacks something or the file cannot be written.
pub fn write_model(base: &Path, file: &Path, numbers: ExportDtype) -> Result<(), TrainError> {
    let name = base.file_name().map_or_else(|| "student".into(), |name| name.to_string_lossy());
    write_named(base, &name, file, numbers)
}

/// As [`write_model`], of a model with this name.
pub(super) fn write_named(
    base: &Path,
    name: &str,
    file: &Path,
    numbers: ExportDtype,
) -> Result<(), TrainError> {
    let shape = ModelConfig::open(base)?;
    check_blocks(&shape, numbers)?;
    let weights = Weights::folder(base)?;
    let mut gguf = Gguf::new(numbers, shape.family.gguf(), "model");
    gguf.value("general.name", Value::String(name.into()));
    sizes(&mut gguf, &shape);
    gguf.values.extend(tokenizer::values(base, shape.vocab_size)?);
    if let Some(factors) = shape.rope_factors() {
        let factors: Vec<f32> = factors.iter().map(|factor| *factor as f32).collect();
        gguf.tensor("rope_freqs.weight".into(), &Tensor::new(factors, &Device::Cpu)?)?;
    }
    for (name, sizes) in shape.tensors() {
        let tensor = weights.get(&name, &sizes, DType::F32, &Device::Cpu)?;
        let tensor = if sizes.len() == 2 { placed(&shape, &name, tensor)? } else { tensor };
        gguf.tensor(place(&name)?, &tensor)?;
    }
    gguf.write(file)
}

/// Refuses a dtype whose blocks do not fit into the rows of a matrix.
pub(super) fn check_blocks(shape: &ModelConfig, numbers: ExportDtype) -> Result<(), TrainError> {
    let block = kind(numbers).0.block_size();
    let broken = |sizes: &[usize]| sizes.len() == 2 && !sizes[1].is_multiple_of(block);
    match shape.tensors().into_iter().find(|(_, sizes)| broken(sizes)) {
        Some((name, sizes)) => Err(TrainError::Export(format!(
            "{name} has rows of {}, which are no whole blocks of {block}; use f16",
            sizes[1]
        ))),
        None => Ok(()),
    }
}

fn sizes(gguf: &mut Gguf, shape: &ModelConfig) {
    let architecture = shape.family.gguf();
    let numbers = [
        // llama.cpp has no sliding window in these architectures. Within this length there
        // is none to miss.
        ("context_length", shape.unwindowed()),
        ("embedding_length", shape.hidden_size),
        ("block_count", shape.num_hidden_layers),
        ("feed_forward_length", shape.intermediate_size),
        ("attention.head_count", shape.num_attention_heads),
        ("attention.head_count_kv", shape.num_key_value_heads),
        ("attention.key_length", shape.head_dim),
        ("attention.value_length", shape.head_dim),
        ("rope.dimension_count", shape.head_dim),
        ("vocab_size", shape.vocab_size),
    ];
    for (key, number) in numbers {
        gguf.value(format!("{architecture}.{key}"), Value::U32(number as u32));
    }
    let epsilon = Value::F32(shape.rms_norm_eps as f32);
    gguf.value(format!("{architecture}.attention.layer_norm_rms_epsilon"), epsilon);
    gguf.value(format!("{architecture}.rope.freq_base"), Value::F32(shape.rope_theta as f32));
}
