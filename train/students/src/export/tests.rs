//! Adapters that peft could have written, exported and compared with what peft does.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor, safetensors};
use serde_json::{Value, json};

use super::*;

const WIDTH: usize = 8;
/// The matrices that the adapters change.
const MODULES: [&str; 4] = [
    "model.layers.0.self_attn.q_proj",
    "model.layers.0.self_attn.v_proj",
    "model.layers.1.self_attn.q_proj",
    "model.layers.1.self_attn.v_proj",
];

fn numbers(rows: usize, columns: usize, seed: usize) -> Tensor {
    let number = |at: usize| ((at * 37 + seed * 11) % 19) as f32 / 19.0 - 0.5;
    let all: Vec<_> = (0..rows * columns).map(number).collect();
    Tensor::from_vec(all, (rows, columns), &Device::Cpu).unwrap()
}

/// A model with these matrices and nothing else.
fn model(folder: &Path) {
    let config = json!({
        "model_type": "qwen3", "hidden_size": WIDTH, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 4,
        "intermediate_size": 16, "vocab_size": 32, "max_position_embeddings": 64,
    });
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let weight = |(at, module): (usize, &&str)| (format!("{module}.weight"), numbers(8, 8, at));
    let weights: HashMap<_, _> = MODULES.iter().enumerate().map(weight).collect();
    safetensors::save(&weights, folder.join("model.safetensors")).unwrap();
}

/// An adapter with these changes to a usual configuration, and these ranks.
fn adapter(folder: &Path, more: &Value, ranks: [usize; 4]) {
    let mut config = json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "BASE", "r": 4,
        "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"],
        "bias": "none", "fan_in_fan_out": false, "use_rslora": false, "use_dora": false,
        "inference_mode": true,
    });
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    let mut tensors = HashMap::new();
    for ((at, module), rank) in MODULES.iter().enumerate().zip(ranks) {
        let name = |half| format!("base_model.model.{module}.lora_{half}.weight");
        tensors.insert(name("A"), numbers(rank, WIDTH, 20 + at));
        tensors.insert(name("B"), numbers(WIDTH, rank, 30 + at));
    }
    safetensors::save(&tensors, folder.join("adapter_model.safetensors")).unwrap();
}

#[track_caller]
fn close(one: &Tensor, other: &Tensor, what: &str) {
    let most = (one - other).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(most < 1e-5, "{what}: {most}");
}

/// Exports an adapter in both ways: each change is B times A times this factor.
#[track_caller]
fn check(more: Value, ranks: [usize; 4], factors: [f64; 4]) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    model(&path("base"));
    adapter(&path("adapter"), &more, ranks);
    merge(Some(&path("base")), Some(&path("adapter")), &path("merged"), None).unwrap();
    gguf_adapter(&path("adapter"), Some(&path("base")), &path("a.gguf")).unwrap();
    let merged = safetensors::load(path("merged/model.safetensors"), &Device::Cpu).unwrap();
    let mut file = File::open(path("a.gguf")).unwrap();
    let gguf = Content::read(&mut file).unwrap();
    let alpha = gguf.metadata["adapter.lora.alpha"].to_f32().unwrap();
    for (at, module) in MODULES.iter().enumerate() {
        let product = numbers(WIDTH, ranks[at], 30 + at);
        let product = product.matmul(&numbers(ranks[at], WIDTH, 20 + at)).unwrap();
        let expected = (product * factors[at]).unwrap();
        let change = (&merged[&format!("{module}.weight")] - numbers(8, 8, at)).unwrap();
        close(&change, &expected, &format!("{module}, merged, {more}"));
        // As llama.cpp applies it: `llama_adapter_lora_weight::get_scale`.
        let mut half = |half: &str| {
            let part = if module.ends_with("q_proj") { "attn_q" } else { "attn_v" };
            let name = format!("blk.{}.{part}.weight.lora_{half}", at / 2);
            let tensor = gguf.tensor(&mut file, &name, &Device::Cpu).unwrap();
            tensor.dequantize(&Device::Cpu).unwrap()
        };
        let (a, b) = (half("a"), half("b"));
        let scale = if alpha == 0.0 { 1.0 } else { f64::from(alpha) / ranks[at] as f64 };
        let change = (b.matmul(&a).unwrap() * scale).unwrap();
        close(&change, &expected, &format!("{module}, gguf, {more}"));
    }
}

/// The folder `28-alpha-pattern` of reported faults, and its like.
#[test]
fn an_adapter_does_what_it_does_in_peft() {
    let four = [4; 4];
    check(json!({}), four, [2.0; 4]);
    check(json!({"alpha_pattern": {"layers.0.self_attn.q_proj": 80}}), four, [20.0, 2.0, 2.0, 2.0]);
    check(json!({"rank_pattern": {"v_proj": 8}}), [4, 8, 4, 8], [2.0, 1.0, 2.0, 1.0]);
    check(
        json!({"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"v_proj": 3}}),
        [4, 2, 4, 2],
        [2.0, 1.5, 2.0, 1.5],
    );
    check(json!({"use_rslora": true}), four, [4.0; 4]);
    check(
        json!({"use_rslora": true, "rank_pattern": {"layers.1.self_attn.q_proj": 16}}),
        [4, 4, 16, 4],
        [4.0, 4.0, 2.0, 4.0],
    );
    check(json!({"lora_alpha": 0}), four, [0.0; 4]);
    check(json!({"lora_alpha": 0, "alpha_pattern": {"q_proj": 4}}), four, [1.0, 0.0, 1.0, 0.0]);
    check(json!({"bias": "all", "target_modules": ".*_proj"}), four, [2.0; 4]);
}

#[track_caller]
fn check_refused(more: Value, ranks: [usize; 4], extra: Option<&str>, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    model(&path("base"));
    adapter(&path("adapter"), &more, ranks);
    if let Some(extra) = extra {
        let file = path("adapter/adapter_model.safetensors");
        let mut tensors = safetensors::load(&file, &Device::Cpu).unwrap();
        tensors.insert(extra.into(), numbers(8, 8, 1));
        safetensors::save(&tensors, &file).unwrap();
    }
    let (base, adapter) = (path("base"), path("adapter"));
    let gguf = gguf_adapter(&adapter, Some(&base), &path("a.gguf"));
    let merged = merge(Some(&base), Some(&adapter), &path("merged"), None);
    for refused in [gguf, merged] {
        let why = refused.unwrap_err().to_string();
        assert!(why.contains(expected) && why.contains("adapter"), "{why}");
    }
    assert!(!path("a.gguf").exists());
}

#[test]
fn an_adapter_that_is_not_applied_as_peft_does_is_refused() {
    let four = [4; 4];
    check_refused(json!({"use_dora": true}), four, None, "adapter_config.json: `use_dora` is true");
    check_refused(
        json!({}),
        [4, 8, 4, 8],
        None,
        "v_proj has rank 8 in adapter_model.safetensors, but 4",
    );
    check_refused(json!({"rank_pattern": {"q_proj": 2}}), four, None, "q_proj has rank 4 in");
    check_refused(json!({"target_modules": ["q_proj"]}), four, None, "because of `target_modules`");
    check_refused(
        json!({"layers_to_transform": [1]}),
        four,
        None,
        "because of `layers_to_transform`",
    );
    check_refused(
        json!({"exclude_modules": ["v_proj"]}),
        four,
        None,
        "because of `exclude_modules`",
    );
    let bias = "base_model.model.model.layers.0.self_attn.q_proj.bias";
    check_refused(json!({"bias": "lora_only"}), four, Some(bias), "`bias` is lora_only");
    let head = "base_model.model.lm_head.weight";
    check_refused(json!({}), four, Some(head), "base_model.model.lm_head.weight is no change of");
    let table = "base_model.model.model.embed_tokens.lora_embedding_A";
    check_refused(json!({}), four, Some(table), "embed_tokens.lora_embedding_A is no change of");
    let other = "base_model.model.model.layers.7.mlp.up_proj.lora_A.weight";
    check_refused(json!({}), four, Some(other), "1 of 9 tensors do not belong to the model");
}
