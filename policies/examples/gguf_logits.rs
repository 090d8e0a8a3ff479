//! What llama.cpp makes of a text: its tokens, and for each the logits of the next, as a
//! line of JSON. With `--rows`, it reads the lines of a dataset's `tokens/rows.jsonl` instead,
//! and prints for each row the mean loss of the tokens that carry loss. It computes as the
//! policy `llama` does with `--kv-cache-dtype f32`.
//!
//! ```text
//! cargo run -p fixfly-policies --features llama --example gguf_logits -- MODEL.gguf [ADAPTER.gguf] < TEXT
//! cargo run -p fixfly-policies --features llama --example gguf_logits -- MODEL.gguf [ADAPTER.gguf] --rows < rows.jsonl
//! ```
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it is run by people")]

use std::io::Read;
use std::num::NonZeroU32;

use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};
use llama_cpp_2::token::LlamaToken;
use serde_json::{Value, json};

/// A model and its adapter, in the order in which they are freed.
struct Loaded {
    adapter: Option<LlamaLoraAdapter>,
    model: LlamaModel,
    backend: LlamaBackend,
}

impl Loaded {
    fn open(file: &str, adapter: Option<&str>) -> Loaded {
        let mut backend = LlamaBackend::init().unwrap();
        backend.void_logs();
        let params = LlamaModelParams::default();
        let mut model = LlamaModel::load_from_file(&backend, file, &params).unwrap();
        let adapter = adapter.map(|file| model.lora_adapter_init(file).unwrap());
        Loaded { adapter, model, backend }
    }

    /// Calls `each` with the logits after each of these positions.
    fn forward(
        &mut self,
        tokens: &[LlamaToken],
        positions: &[usize],
        mut each: impl FnMut(&[f32]),
    ) {
        let count = u32::try_from(tokens.len()).unwrap();
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(count.next_multiple_of(256)))
            .with_n_batch(count)
            .with_n_ubatch(count)
            .with_type_k(KvCacheType::F32)
            .with_type_v(KvCacheType::F32)
            .with_flash_attention_policy(0);
        let mut context = self.model.new_context(&self.backend, params).unwrap();
        if let Some(adapter) = &mut self.adapter {
            context.lora_adapter_set(adapter, 1.0).unwrap();
        }
        let mut batch = LlamaBatch::new(tokens.len(), 1);
        for (at, token) in tokens.iter().enumerate() {
            batch.add(*token, at as i32, &[0], positions.contains(&at)).unwrap();
        }
        context.decode(&mut batch).unwrap();
        positions.iter().for_each(|at| each(context.get_logits_ith(*at as i32)));
    }

    /// The tokens of a text, and the logits after each.
    fn text(&mut self, text: &str) -> Value {
        let tokens = self.model.vocab().tokenize(text.as_bytes(), false, true);
        let all: Vec<usize> = (0..tokens.len()).collect();
        let mut logits: Vec<Vec<f32>> = Vec::new();
        self.forward(&tokens, &all, |after| logits.push(after.to_vec()));
        let tokens: Vec<i32> = tokens.iter().map(|token| token.0).collect();
        let template = self.model.meta_val_str("tokenizer.chat_template").ok();
        json!({"tokens": tokens, "logits": logits, "chat_template": template})
    }

    /// The mean loss of a row's tokens that carry loss, and their number.
    fn row(&mut self, row: &Value) -> Value {
        let number = |value: &Value| value.as_u64().unwrap() as usize;
        let tokens: Vec<LlamaToken> = row["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| LlamaToken(number(id) as i32))
            .collect();
        let spans = row["loss"].as_array().unwrap().iter();
        let learned: Vec<usize> =
            spans.flat_map(|span| number(&span[0]).max(1)..number(&span[1])).collect();
        let before: Vec<usize> = learned.iter().map(|at| at - 1).collect();
        let (mut at, mut total) = (0, 0.0);
        self.forward(&tokens, &before, |logits| {
            total += loss(logits, tokens[learned[at]]);
            at += 1;
        });
        json!({"row": row["row"], "learned": at, "loss": total / at as f64})
    }
}

/// The negative logarithm of a token's probability.
fn loss(logits: &[f32], token: LlamaToken) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|one| (f64::from(*one) - most).exp()).sum();
    most + sum.ln() - f64::from(logits[token.0 as usize])
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (flags, files): (Vec<&str>, Vec<&str>) =
        words.iter().map(String::as_str).partition(|word| word.starts_with("--"));
    let file = files.first().expect("gguf_logits MODEL.gguf [ADAPTER.gguf] [--rows] < INPUT");
    let mut loaded = Loaded::open(file, files.get(1).copied());
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).unwrap();
    if flags != ["--rows"] {
        println!("{}", loaded.text(&input));
        return;
    }
    for line in input.lines() {
        println!("{}", loaded.row(&serde_json::from_str(line).unwrap()));
    }
}
