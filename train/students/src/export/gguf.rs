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
use crate::error::TrainError;
use crate::model_config::{Family, ModelConfig};
use crate::settings::Target;
use crate::weights::Weights;

/// llama.cpp's codes for the dtype of a tensor, and for the type of a file.
fn kind(numbers: ExportDtype) -> (GgmlDType, u32) {
    match numbers {
        ExportDtype::F32 => (GgmlDType::F32, 0),
        ExportDtype::F16 => (GgmlDType::F16, 1),
        ExportDtype::Bf16 => (GgmlDType::BF16, 32),
    }
}

/// llama.cpp's name for a matrix of a layer.
fn name(layer: usize, target: Target) -> String {
    let part = match target {
        Target::QProj => "attn_q",
        Target::KProj => "attn_k",
        Target::VProj => "attn_v",
        Target::OProj => "attn_output",
        Target::GateProj => "ffn_gate",
        Target::UpProj => "ffn_up",
        Target::DownProj => "ffn_down",
    };
    format!("blk.{layer}.{part}.weight")
}

/// llama.cpp's architecture `llama` rotates pairs of neighbouring elements; Hugging Face
/// rotates pairs that are half a head apart. This reorders the rows of queries and keys.
fn placed(shape: &ModelConfig, target: Target, tensor: Tensor) -> candle_core::Result<Tensor> {
    let heads = match (shape.family, target) {
        (Family::Llama | Family::Mistral, Target::QProj) => shape.num_attention_heads,
        (Family::Llama | Family::Mistral, Target::KProj) => shape.num_key_value_heads,
        _ => return Ok(tensor),
    };
    let (out, columns) = tensor.dims2()?;
    let halves = tensor.reshape((heads, 2, shape.head_dim / 2, columns))?;
    halves.transpose(1, 2)?.reshape((out, columns))
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

/// Writes an adapter for llama.cpp, in f32. `base` overrides the model folder that the
/// adapter names.
///
/// # Errors
/// [`TrainError`] if the adapter cannot be read or does not match its model.
pub fn write_adapter(adapter: &Path, base: Option<&Path>, file: &Path) -> Result<(), TrainError> {
    let adapter = Adapter::open(adapter)?;
    let shape = ModelConfig::open(base_of(base, Some(&adapter))?)?;
    let mut gguf = Gguf::new(ExportDtype::F32, shape.family.gguf(), "adapter");
    gguf.value("adapter.type", Value::String("lora".into()));
    let alpha = file_alpha(adapter.config.alpha);
    gguf.value("adapter.lora.alpha", Value::F32(alpha as f32));
    for change in adapter.changes(&shape)? {
        let name = name(change.layer, change.target);
        let b = scaled(&change, alpha)?;
        gguf.tensor(format!("{name}.lora_a"), &change.a)?;
        gguf.tensor(format!("{name}.lora_b"), &placed(&shape, change.target, b)?)?;
    }
    gguf.write(file)
}

/// Writes a whole model for llama.cpp, with its tokenizer and chat template.
///
/// # Errors
/// [`TrainError`] if the model folder lacks something or the file cannot be written.
pub fn write_model(base: &Path, file: &Path, numbers: ExportDtype) -> Result<(), TrainError> {
    let shape = ModelConfig::open(base)?;
    let weights = Weights::open(base)?;
    let mut gguf = Gguf::new(numbers, shape.family.gguf(), "model");
    let called = base.file_name().map_or_else(|| "student".into(), |name| name.to_string_lossy());
    gguf.value("general.name", Value::String(called.into_owned()));
    sizes(&mut gguf, &shape);
    gguf.values.extend(tokenizer::values(base, shape.vocab_size)?);
    let get = |name: &str, sizes: &[usize]| weights.get(name, sizes, DType::F32, &Device::Cpu);
    let table = [shape.vocab_size, shape.hidden_size];
    gguf.tensor("token_embd.weight".into(), &get("model.embed_tokens.weight", &table)?)?;
    gguf.tensor("output_norm.weight".into(), &get("model.norm.weight", &[shape.hidden_size])?)?;
    if !shape.tie_word_embeddings {
        gguf.tensor("output.weight".into(), &get("lm_head.weight", &table)?)?;
    }
    if let Some(scaling) = shape.rope_scaling {
        let plain = ModelConfig { rope_scaling: None, ..shape.clone() }.frequencies();
        let factors: Vec<f32> = plain.iter().map(|one| scaling.of(*one) as f32).collect();
        gguf.tensor("rope_freqs.weight".into(), &Tensor::new(factors, &Device::Cpu)?)?;
    }
    for layer in 0..shape.num_hidden_layers {
        for target in Target::ALL {
            let (out, input) = shape.sizes(target);
            let from = format!("model.layers.{layer}.{}.{}.weight", target.part(), target.name());
            let tensor = placed(&shape, target, get(&from, &[out, input])?)?;
            gguf.tensor(name(layer, target), &tensor)?;
        }
        let norms = [
            ("input_layernorm", "attn_norm", shape.hidden_size),
            ("post_attention_layernorm", "ffn_norm", shape.hidden_size),
            ("self_attn.q_norm", "attn_q_norm", shape.head_dim),
            ("self_attn.k_norm", "attn_k_norm", shape.head_dim),
        ];
        let count = if shape.family == Family::Qwen3 { 4 } else { 2 };
        for (from, to, size) in &norms[..count] {
            let tensor = get(&format!("model.layers.{layer}.{from}.weight"), &[*size])?;
            gguf.tensor(format!("blk.{layer}.{to}.weight"), &tensor)?;
        }
    }
    gguf.write(file)
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
