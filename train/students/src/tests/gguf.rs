//! GGUF files as bases, compared with folders of the dequantised weights.

mod refused;

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor, safetensors};
use tempfile::TempDir;

use super::layers::Sizes;
use super::{
    KINDS, dataset, job, learn, loaded, numbers, rows, run, settings, sized, with_adapter,
};
use crate::base_model::Base;
use crate::matrix::Matrix;
use crate::model::Chunks;
use crate::model_config::RopeScaling;
use crate::ops::tests::check_close;
use crate::settings::{BaseDtype, Method, Target};
use crate::tensors::{gguf_name, module};
use crate::{ExportDtype, Student, checkpoints, gguf_adapter, merge};

/// Rows of whole blocks in every format.
const WIDE: Sizes = Sizes {
    hidden_size: 256,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 64,
    intermediate_size: 256,
};

/// The formats that are read, all of them.
pub(crate) const FORMATS: [GgmlDType; 11] = [
    GgmlDType::F32,
    GgmlDType::F16,
    GgmlDType::BF16,
    GgmlDType::Q8_0,
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

/// The contents of a GGUF file.
struct Contents {
    values: Vec<(String, Value)>,
    tensors: Vec<(String, QTensor)>,
}

impl Contents {
    fn write(&self, file: &Path) {
        let values: Vec<_> = self.values.iter().map(|(key, value)| (&**key, value)).collect();
        let tensors: Vec<_> = self.tensors.iter().map(|(name, one)| (&**name, one)).collect();
        gguf_file::write(&mut File::create(file).unwrap(), &values, &tensors).unwrap();
    }

    fn set(&mut self, key: &str, value: Value) {
        self.values.retain(|(other, _)| other != key);
        self.values.push((key.into(), value));
    }
}

/// Rows in the order of llama.cpp's architecture `llama`: each pair of elements that Hugging
/// Face rotates half a head apart is neighbouring.
fn neighbouring(tensor: &Tensor, heads: usize) -> Tensor {
    let (rows, _) = tensor.dims2().unwrap();
    let head = rows / heads;
    let from = |at: usize| (at / head * head + at % head / 2 + at % 2 * (head / 2)) as u32;
    let order: Vec<u32> = (0..rows).map(from).collect();
    tensor.index_select(&Tensor::new(order, &Device::Cpu).unwrap(), 0).unwrap()
}

/// The folder's model with matrices in this format, and a folder of its dequantised weights.
fn quantised(folder: &Path, format: GgmlDType) -> (Contents, PathBuf) {
    let base = Base::open(folder).unwrap();
    let (shape, weights) = (base.config().clone(), base.weights().unwrap());
    let plain = folder.with_extension("dequantised");
    fs::create_dir_all(&plain).unwrap();
    fs::copy(folder.join("config.json"), plain.join("config.json")).unwrap();
    let (mut tensors, mut dequantised) = (Vec::new(), HashMap::new());
    for (name, sizes) in shape.tensors() {
        let tensor = weights.get(&name, &sizes, DType::F32, &Device::Cpu).unwrap();
        let format = if sizes.len() == 1 { GgmlDType::F32 } else { format };
        let quantise = |tensor: &Tensor| QTensor::quantize(tensor, format).unwrap();
        let stored = quantise(&tensor).dequantize(&Device::Cpu).unwrap();
        let heads = match (shape.family.gguf(), &*name) {
            ("llama", name) if name.ends_with("q_proj.weight") => shape.num_attention_heads,
            ("llama", name) if name.ends_with("k_proj.weight") => shape.num_key_value_heads,
            _ => 0,
        };
        let placed = if heads > 0 { neighbouring(&tensor, heads) } else { tensor };
        dequantised.insert(name.clone(), stored);
        tensors.push((gguf_name(&name).unwrap(), quantise(&placed)));
    }
    safetensors::save(&dequantised, plain.join("model.safetensors")).unwrap();
    if let Some(factors) = shape.rope_factors() {
        let factors: Vec<f32> = factors.iter().map(|factor| *factor as f32).collect();
        let factors = Tensor::new(factors, &Device::Cpu).unwrap();
        let factors = QTensor::quantize(&factors, GgmlDType::F32).unwrap();
        tensors.push(("rope_freqs.weight".to_string(), factors));
    }
    let architecture = shape.family.gguf();
    let mut values = vec![("general.architecture".into(), Value::String(architecture.into()))];
    for (key, number) in [
        ("block_count", shape.num_hidden_layers),
        ("context_length", shape.max_position_embeddings),
        ("embedding_length", shape.hidden_size),
        ("feed_forward_length", shape.intermediate_size),
        ("attention.head_count", shape.num_attention_heads),
        ("attention.head_count_kv", shape.num_key_value_heads),
        ("attention.key_length", shape.head_dim),
        ("rope.dimension_count", shape.head_dim),
    ] {
        values.push((format!("{architecture}.{key}"), Value::U32(number as u32)));
    }
    for (key, number) in [
        ("attention.layer_norm_rms_epsilon", shape.rms_norm_eps),
        ("rope.freq_base", shape.rope_theta),
    ] {
        values.push((format!("{architecture}.{key}"), Value::F32(number as f32)));
    }
    values.extend(tokenizer());
    (Contents { values, tensors }, plain)
}

const TEMPLATE: &str = "{{ messages[0].content }}";

/// A tokenizer of 64 tokens.
fn tokenizer() -> Vec<(String, Value)> {
    let text = |text: &str| Value::String(text.into());
    let letters = (b'!'..).take(60).map(|letter| text(&char::from(letter).to_string()));
    let tokens = letters.chain(["a", "b", "ab", "<|im_end|>"].map(text)).collect();
    let types = (0..64).map(|at| Value::I32(if at == 63 { 3 } else { 1 })).collect();
    let values = [
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("gpt-2")),
        ("tokenizer.ggml.tokens", Value::Array(tokens)),
        ("tokenizer.ggml.token_type", Value::Array(types)),
        ("tokenizer.ggml.merges", Value::Array(vec![text("a b")])),
        ("tokenizer.ggml.eos_token_id", Value::U32(63)),
        ("tokenizer.chat_template", text(TEMPLATE)),
    ];
    values.map(|(key, value)| (key.to_string(), value)).into()
}

/// A GGUF file, and a folder with its dequantised weights.
pub(super) fn bases(folder: &Path, kind: &str, format: GgmlDType) -> (PathBuf, PathBuf) {
    let (contents, plain) = quantised(&sized(folder, kind, &WIDE), format);
    let file = folder.join(format!("{kind}.gguf"));
    contents.write(&file);
    (file, plain)
}

/// An adapter on a GGUF file has the loss and the gradients that it has on a folder with the
/// same numbers.
#[track_caller]
fn check(kind: &str, format: GgmlDType, held: BaseDtype) {
    let folder = TempDir::new().unwrap();
    let (file, plain) = bases(folder.path(), kind, format);
    let settings = settings(Method::Lora);
    let chunks = Chunks { logits: 1 << 10, ..Chunks::default() };
    let learned = |base: &Path, held| {
        let model = with_adapter(loaded(base, &settings, chunks, held), &settings);
        learn(&model, &rows(), 30, 0.2)
    };
    let (loss, grads) = learned(&file, held);
    // llama.cpp has no sliding window, so that Mistral is trained without one.
    let (expected, right) =
        learned(&plain, if held == BaseDtype::Bf16 { held } else { BaseDtype::F32 });
    assert!((loss / expected - 1.0).abs() < 5e-6, "{kind} {format:?}: {loss}, not {expected}");
    assert_eq!(grads.len(), right.len());
    grads.iter().zip(&right).for_each(|(one, other)| check_close(one, other, 1e-4));
}

#[test]
fn an_adapter_learns_the_same_on_quantised_and_on_dequantised_weights() {
    for format in FORMATS {
        check("llama", format, BaseDtype::Quantized);
    }
}

#[test]
fn each_architecture_is_read_from_a_gguf_file() {
    for kind in KINDS.into_iter().filter(|kind| *kind != "mistral") {
        check(kind, GgmlDType::Q8_0, BaseDtype::Quantized);
    }
    check("qwen2", GgmlDType::Q4K, BaseDtype::F32);
    check("qwen2", GgmlDType::F16, BaseDtype::Bf16);
}

#[test]
fn quantised_weights_take_the_memory_of_their_file() {
    let folder = TempDir::new().unwrap();
    let (file, _) = bases(folder.path(), "llama", GgmlDType::Q4K);
    let base = Base::open(&file).unwrap();
    let weights = base.weights().unwrap();
    for target in Target::ALL {
        let name = format!("{}.weight", module(0, target));
        let (out, input) = base.config().sizes(target);
        let read =
            |held| weights.matrix(&name, (out, input), held, DType::F32, &Device::Cpu).unwrap();
        let Matrix::Quantised(matrix) = read(BaseDtype::Quantized) else {
            panic!("{name} was dequantised");
        };
        // 144 bytes for 256 numbers.
        assert_eq!(matrix.bytes(), out * input / 256 * 144, "{name}");
        let Matrix::Quantised(matrix) = read(BaseDtype::Bf16) else { panic!("{name} is plain") };
        assert_eq!(matrix.bytes(), out * input * 2, "{name}");
        assert!(matches!(read(BaseDtype::F32), Matrix::Plain(_)), "{name}");
    }
}

#[test]
fn a_configuration_is_that_of_the_folder() {
    let folder = TempDir::new().unwrap();
    for kind in KINDS.into_iter().filter(|kind| *kind != "mistral") {
        let (file, plain) = bases(folder.path(), kind, GgmlDType::F16);
        let [read, mut expected] =
            [&file, &plain].map(|base| Base::open(base).unwrap().config().clone());
        // Files have f32 numbers, and the factors of a window that Llama 3 did not have.
        assert!((read.rms_norm_eps / expected.rms_norm_eps - 1.0).abs() < 1e-6);
        expected.rms_norm_eps = read.rms_norm_eps;
        if let Some(factors) = expected.rope_factors() {
            let Some(RopeScaling::Factors(found)) = &read.rope_scaling else {
                panic!("{:?}", read.rope_scaling)
            };
            assert!(found.iter().zip(&factors).all(|(one, other)| (one - other).abs() < 1e-6));
            expected.rope_scaling = read.rope_scaling.clone();
        }
        assert_eq!(read, expected, "{kind}");
    }
}

/// Writes a GGUF file in q8_0: a matrix differs by what its blocks round, and the rest is equal.
#[track_caller]
fn check_quantised_again(file: &Path, q8: &Path) {
    let student = Student::open(file, None).unwrap();
    student.gguf(q8, ExportDtype::Q8_0, true).unwrap();
    let content = gguf_file::Content::read(&mut File::open(q8).unwrap()).unwrap();
    assert_eq!(content.metadata["general.file_type"].to_u32().unwrap(), 7);
    let name = q8.file_stem().unwrap().to_string_lossy();
    assert_eq!(*content.metadata["general.name"].to_string().unwrap(), *name);
    assert!(!q8.with_extension("merging").exists());
    let (read, exact) = (Base::open(q8).unwrap(), Base::open(file).unwrap());
    assert_eq!(read.config(), exact.config());
    for (name, sizes) in exact.config().tensors() {
        let [one, other] = [&read, &exact].map(|base| {
            let weights = base.weights().unwrap();
            weights.get(&name, &sizes, DType::F32, &Device::Cpu).unwrap()
        });
        // Half a step of 127, and the factor of a block is rounded to 11 bits.
        let most = if sizes.len() == 2 { 0.5 / 127.0 + 1.0 / 2048.0 } else { 1e-6 };
        check_close(&one, &other, most);
    }
    let dtypes: Vec<_> = content.tensor_infos.values().map(|info| info.ggml_dtype).collect();
    assert!(dtypes.contains(&GgmlDType::Q8_0) && dtypes.contains(&GgmlDType::F32), "{dtypes:?}");
    let folder = q8.with_extension("folder");
    let why = student.safetensors(&folder, Some(ExportDtype::Q8_0)).unwrap_err().to_string();
    assert!(why.contains("safetensors files have no q8_0") && !folder.exists(), "{why}");
}

#[test]
fn rows_that_are_no_whole_blocks_are_refused() {
    let folder = TempDir::new().unwrap();
    let narrow = Sizes { hidden_size: 40, ..WIDE };
    let base = sized(folder.path(), "qwen2", &narrow);
    let (f16, file) = (folder.path().join("f16.gguf"), folder.path().join("q8.gguf"));
    quantised(&base, GgmlDType::F16).0.write(&f16);
    for from in [base, f16] {
        let student = Student::open(&from, None).unwrap();
        let why = student.gguf(&file, ExportDtype::Q8_0, true).unwrap_err().to_string();
        assert!(why.contains("rows of 40, which are no whole blocks of 32; use f16"), "{why}");
        assert!(!file.exists() && !file.with_extension("merging").exists());
    }
}

#[test]
fn an_adapter_on_a_gguf_file_is_trained_exported_and_merged() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let dataset = dataset(folder.path(), &rows());
    for kind in ["smollm2", "qwen2"] {
        let (file, plain) = bases(folder.path(), kind, GgmlDType::Q5_1);
        let trained = |base: &Path, name: &str| {
            let job = job(folder.path(), base, &dataset, Method::Lora, &format!("{kind}-{name}"));
            let (_, lines) = run(&job, None);
            let adapter = checkpoints(&job.output).unwrap().pop().unwrap().folder;
            (numbers(&lines), job, adapter)
        };
        let ((steps, job, adapter), (expected, _, beside)) =
            (trained(&file, "gguf"), trained(&plain, "folder"));
        assert_eq!(steps, expected, "{kind}: dequantised before or during the training");
        let exported = [(&adapter, "one.gguf"), (&beside, "other.gguf")].map(|(adapter, name)| {
            gguf_adapter(adapter, None, &path(name)).unwrap();
            fs::read(path(name)).unwrap()
        });
        assert!(exported[0] == exported[1], "{kind}: the adapters differ");
        let merged = path(&format!("{kind}-merged"));
        let student = Student::open(&job.output, None).unwrap();
        student.safetensors(&merged, Some(ExportDtype::F32)).unwrap();
        let right = path(&format!("{kind}-right"));
        merge(Some(&plain), Some(&adapter), &right, None).unwrap();
        let [one, other] = [merged, right].map(|folder| {
            safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap()
        });
        assert_eq!(one.len(), other.len());
        one.iter().for_each(|(name, tensor)| check_close(tensor, &other[name], 1e-6));
        // The same numbers in one file: they are not rounded on the way.
        let whole = path(&format!("{kind}-whole.gguf"));
        student.gguf(&whole, ExportDtype::F32, true).unwrap();
        let read = Base::open(&whole).unwrap();
        for (name, sizes) in read.config().tensors() {
            let weights = read.weights().unwrap();
            let tensor = weights.get(&name, &sizes, DType::F32, &Device::Cpu).unwrap();
            check_close(&tensor, &one[&name], 1e-6);
        }
        check_quantised_again(&whole, &path(&format!("{kind}-q8.gguf")));
        // The file was replaced by another.
        let (mut contents, _) = quantised(&sized(folder.path(), kind, &WIDE), GgmlDType::Q8_0);
        contents.set("general.name", Value::String("other".into()));
        contents.write(&file);
        let why = Student::open(&job.output, None).unwrap_err().to_string();
        assert!(
            why.contains("is another model than the one that the adapter was trained"),
            "{why}"
        );
        let mut again = job;
        again.settings.epochs += 1;
        let why = again.ready().map(drop).unwrap_err().to_string();
        assert!(why.contains("holds another training: its base model"), "{why}");
    }
}

#[test]
fn a_full_fine_tune_of_a_gguf_file_writes_a_folder() {
    let folder = TempDir::new().unwrap();
    let (file, plain) = bases(folder.path(), "qwen2", GgmlDType::Q4_1);
    let dataset = dataset(folder.path(), &rows());
    let trained = |base: &Path, name| {
        let job = job(folder.path(), base, &dataset, Method::Full, name);
        (numbers(&run(&job, None).1), checkpoints(&job.output).unwrap().pop().unwrap().folder)
    };
    let ((steps, student), (expected, _)) = (trained(&file, "one"), trained(&plain, "other"));
    assert_eq!(steps, expected);
    let written = Base::open(&student).unwrap();
    let read = Base::open(&file).unwrap();
    assert_eq!(written.config(), read.config());
    let [written, read] = [written, read].map(|base| base.tokenizer().unwrap());
    assert!(written == read, "the tokenizers differ");
    let about = fs::read_to_string(student.join("tokenizer_config.json")).unwrap();
    assert!(about.contains("\"eos_token\": \"<|im_end|>\""), "{about}");
    assert_eq!(fs::read_to_string(student.join("chat_template.jinja")).unwrap(), TEMPLATE);
}
