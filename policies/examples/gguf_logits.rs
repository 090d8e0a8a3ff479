//! What llama.cpp makes of a text: its tokens, and for each the logits of the
//! next, as a line of JSON. It computes as the policy `llama` does with `--kv-cache-dtype f32`.
//!
//! ```text
//! cargo run -p fixfly-policies --features llama --example gguf_logits -- MODEL.gguf [ADAPTER.gguf] < TEXT
//! ```
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it is run by people")]

use std::io::Read;
use std::num::NonZeroU32;

use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use serde_json::json;

fn main() {
    let mut files = std::env::args().skip(1);
    let file = files.next().expect("gguf_logits MODEL.gguf [ADAPTER.gguf] < TEXT");
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    let mut backend = LlamaBackend::init().unwrap();
    backend.void_logs();
    let mut model =
        LlamaModel::load_from_file(&backend, file, &LlamaModelParams::default()).unwrap();
    let mut adapter = files.next().map(|file| model.lora_adapter_init(file).unwrap());
    let tokens = model.vocab().tokenize(text.as_bytes(), false, true);
    let count = u32::try_from(tokens.len()).unwrap();
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(count.next_multiple_of(256)))
        .with_n_batch(count)
        .with_n_ubatch(count)
        .with_type_k(KvCacheType::F32)
        .with_type_v(KvCacheType::F32)
        .with_flash_attention_policy(0);
    let mut context = model.new_context(&backend, params).unwrap();
    if let Some(adapter) = &mut adapter {
        context.lora_adapter_set(adapter, 1.0).unwrap();
    }
    let mut batch = LlamaBatch::new(tokens.len(), 1);
    batch.add_sequence(&tokens, 0, true).unwrap();
    context.decode(&mut batch).unwrap();
    let logits: Vec<&[f32]> =
        (0..tokens.len()).map(|at| context.get_logits_ith(at as i32)).collect();
    let tokens: Vec<i32> = tokens.iter().map(|token| token.0).collect();
    let template = model.meta_val_str("tokenizer.chat_template").ok();
    println!("{}", json!({"tokens": tokens, "logits": logits, "chat_template": template}));
}
