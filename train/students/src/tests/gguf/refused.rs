//! GGUF files that cannot be bases, and jobs that do not suit them.

use super::*;
use crate::base_model::check_base;

/// What is wrong with a file of Llama's architecture after a change.
#[track_caller]
fn check_refused(change: impl Fn(&mut Contents), expected: &str) {
    let folder = TempDir::new().unwrap();
    let (mut contents, _) = quantised(&sized(folder.path(), "smollm2", &WIDE), GgmlDType::Q4_0);
    change(&mut contents);
    let file = folder.path().join("bad.gguf");
    contents.write(&file);
    let why = Base::open(&file).map(drop).unwrap_err().to_string();
    assert!(why.contains(expected) && why.contains("bad.gguf"), "{why}");
}

fn tensor(sizes: (usize, usize), format: GgmlDType) -> QTensor {
    let zeros = Tensor::zeros(sizes, DType::F32, &Device::Cpu).unwrap();
    QTensor::quantize(&zeros, format).unwrap()
}

#[test]
fn a_file_that_cannot_be_a_base_is_refused_in_a_sentence() {
    let text = |text: &str| Value::String(text.into());
    let swap = |contents: &mut Contents, name: &str, other: QTensor| {
        contents.tensors.retain(|(one, _)| one != name);
        contents.tensors.push((name.into(), other));
    };
    check_refused(
        |file| file.set("general.architecture", text("gemma3")),
        "unsupported architecture `gemma3`; supported: llama (Mistral's too), qwen2, qwen3",
    );
    check_refused(
        |file| file.values.retain(|(key, _)| key != "general.architecture"),
        "no `general.architecture`",
    );
    check_refused(|file| file.set("general.type", text("adapter")), "no whole model");
    check_refused(
        |file| file.values.retain(|(key, _)| key != "llama.block_count"),
        "its metadata has no `llama.block_count`",
    );
    check_refused(|file| file.set("llama.expert_count", Value::U32(8)), "it has 8 experts");
    check_refused(
        |file| file.set("llama.rope.scaling.type", text("yarn")),
        "rotary position embedding is scaled (`yarn`)",
    );
    check_refused(
        |file| file.set("llama.rope.scaling.factor", Value::F32(2.0)),
        "rotary position embedding is scaled (`linear`)",
    );
    check_refused(
        |file| file.set("llama.rope.scaling.attn_factor", Value::F32(1.2)),
        "rotary position embedding is scaled",
    );
    // Numbers that would take all memory, or that no product of two sizes may reach.
    check_refused(
        |file| file.set("llama.block_count", Value::U32(2_000_000_000)),
        "`llama.block_count` is 2000000000, but it has only 20 tensors",
    );
    check_refused(
        |file| file.set("llama.attention.key_length", Value::U64(1 << 40)),
        "`llama.attention.key_length` is 1099511627776; it must be a number from 1 to 2147483647",
    );
    check_refused(
        |file| file.set("llama.context_length", Value::U32(0)),
        "`llama.context_length` is 0; it must be a number from 1",
    );
    let factors = Tensor::new(vec![0_f32; 32], &Device::Cpu).unwrap();
    check_refused(
        |file| {
            let factors = QTensor::quantize(&factors, GgmlDType::F32).unwrap();
            swap(file, "rope_freqs.weight", factors);
        },
        "a factor of its rotary position embedding (rope_freqs.weight) is 0; it must be above 0",
    );
    check_refused(
        |file| file.set("llama.rope.dimension_count", Value::U32(32)),
        "`llama.rope.dimension_count` is 32; supported: the size of a head, 64",
    );
    let layers = Value::Array(vec![Value::U32(256), Value::U32(128)]);
    check_refused(
        |file| file.set("llama.feed_forward_length", layers.clone()),
        "`llama.feed_forward_length` differs between layers",
    );
    check_refused(
        |file| file.tensors.retain(|(name, _)| name != "blk.1.ffn_up.weight"),
        "it has no tensor `blk.1.ffn_up.weight`",
    );
    check_refused(
        |file| swap(file, "blk.0.attn_q.weight", tensor((128, 256), GgmlDType::Q4_0)),
        "the tensor `blk.0.attn_q.weight` has the dimensions [256, 128]",
    );
    check_refused(
        |file| swap(file, "blk.0.ffn_up.weight", tensor((256, 256), GgmlDType::Q3K)),
        "the tensor `blk.0.ffn_up.weight` is stored as Q3_K; supported: F32, F16",
    );
    check_refused(
        |file| swap(file, "blk.0.attn_q.bias", tensor((1, 256), GgmlDType::F32)),
        "the tensor `blk.0.attn_q.bias` is none that fixfly applies",
    );
}

#[test]
fn a_file_that_is_cut_off_or_missing_is_refused() {
    let folder = TempDir::new().unwrap();
    let (file, _) = bases(folder.path(), "smollm2", GgmlDType::Q4_0);
    let bytes = fs::read(&file).unwrap();
    let refused = |length: usize| {
        fs::write(&file, &bytes[..length]).unwrap();
        Base::open(&file).map(drop).unwrap_err().to_string()
    };
    for length in [20, 500, bytes.len() / 2, bytes.len() - 40] {
        let why = refused(length);
        assert!(
            why.contains("smollm2.gguf: it ") && why.contains("cut off") | why.contains("ends"),
            "{why}"
        );
    }
    fs::remove_file(&file).unwrap();
    let why = Base::open(&file).map(drop).unwrap_err().to_string();
    assert!(why.contains("there is no such file"), "{why}");
}

#[test]
fn a_job_that_does_not_suit_its_base_is_refused_before_anything_is_computed() {
    let folder = TempDir::new().unwrap();
    let (file, plain) = bases(folder.path(), "llama", GgmlDType::Q4_0);
    let other = folder.path().join("other.gguf");
    let (mut contents, _) = quantised(&sized(folder.path(), "llama", &WIDE), GgmlDType::Q4_0);
    contents.values.retain(|(key, _)| !key.starts_with("tokenizer."));
    contents.write(&other);
    let dataset = dataset(folder.path(), &rows());
    let refused = |base: &Path, method, held| {
        let mut job = job(folder.path(), base, &dataset, method, "student");
        job.base_dtype = held;
        job.ready().map(drop).unwrap_err().to_string()
    };
    let why = refused(&other, Method::Lora, None);
    assert!(why.contains("other.gguf: it has no tokenizer"), "{why}");
    // A sweep asks before its first stage.
    let checked = |base: &Path, method| check_base(base, method).map_err(|why| why.to_string());
    assert_eq!(checked(&other, Method::Lora), Err(why));
    assert_eq!(checked(&file, Method::Lora), Ok(()));
    assert_eq!(checked(&plain, Method::Full), Ok(()));
    let why = refused(&plain, Method::Lora, Some(BaseDtype::Quantized));
    assert!(why.contains("--base-dtype quantized needs a GGUF file"), "{why}");
    let why = refused(&plain, Method::Full, Some(BaseDtype::Bf16));
    assert!(why.contains("--base-dtype is for frozen weights"), "{why}");
    // Its factors are those of no known Llama, so that no folder can express them.
    let why = refused(&file, Method::Full, None);
    assert!(why.contains("rope_freqs.weight") && why.contains("use fixfly train lora"), "{why}");
    assert_eq!(checked(&file, Method::Full), Err(why));
    let about = r#"{"tokenizer_sha256": "0123"}"#;
    fs::write(dataset.join("tokens/tokens.json"), about).unwrap();
    let why = refused(&file, Method::Lora, None);
    let remedy = format!("build it again with --tokenizer {}", file.display());
    assert!(why.contains("a different tokenizer") && why.contains(&remedy), "{why}");
    assert!(!folder.path().join("student").exists());
}
