//! Tiny models with random weights: real files for the real llama.cpp.

use std::path::{Path, PathBuf};

use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, NormalizerWrapper, TokenizerBuilder};

use crate::gguf::{Gguf, Value};

const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
/// What the vocabulary is trained on: a text that no change of the tests changes,
/// as another vocabulary makes other words of random weights.
const TEXT: &str = include_str!("../../../runtime/prompts/qwen3.jinja");
/// Size of the vocabulary.
const WORDS: usize = 512;
pub(crate) const WINDOW: u32 = 4096;

/// Sizes of a model.
#[derive(Clone, Copy)]
pub(crate) struct ModelConfig {
    pub(crate) hidden_size: u64,
    pub(crate) num_hidden_layers: u32,
    pub(crate) num_attention_heads: u64,
    pub(crate) num_key_value_heads: u64,
    pub(crate) head_dim: u64,
    pub(crate) intermediate_size: u64,
    pub(crate) max_position_embeddings: u32,
}

/// 139,000 parameters in two layers.
pub(crate) const TINY: ModelConfig = ModelConfig {
    hidden_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: 32,
    intermediate_size: 128,
    max_position_embeddings: WINDOW,
};

/// An architecture of a tiny model.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Qwen3,
    Llama,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Qwen3 => "qwen3",
            Kind::Llama => "llama",
        }
    }
}

/// Numbers that look random and are the same in each run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 24) as f32 * 2.0 - 1.0
    }

    fn numbers(&mut self, sizes: &[u64], scale: f32) -> Vec<f32> {
        (0..sizes.iter().product()).map(|_| self.next() * scale).collect()
    }
}

/// A tiny model, written into a folder.
pub(crate) fn model(folder: &Path, kind: Kind, template: Option<&str>) -> PathBuf {
    shaped(folder, kind, TINY, template)
}

/// A model of these sizes, written into a folder.
pub(crate) fn shaped(
    folder: &Path,
    kind: Kind,
    shape: ModelConfig,
    template: Option<&str>,
) -> PathBuf {
    worded(folder, kind, shape, template, vocabulary())
}

/// A model that llama.cpp loads and cannot say a word with: its vocabulary has
/// no bytes to fall back on, and llama.cpp ends its process over that.
pub(crate) fn wordless(folder: &Path, template: &str) -> PathBuf {
    let others = (SPECIAL.len()..WORDS).map(|at| format!("nobody says {at}"));
    let tokens = SPECIAL.map(String::from).into_iter().chain(others).collect();
    worded(folder, Kind::Llama, TINY, Some(template), (tokens, Vec::new()))
}

/// A model of these sizes with this vocabulary and these merges: of whole words
/// where there are none.
pub(crate) fn worded(
    folder: &Path,
    kind: Kind,
    shape: ModelConfig,
    template: Option<&str>,
    (tokens, merges): (Vec<String>, Vec<String>),
) -> PathBuf {
    let special = |word: &str| tokens.iter().position(|token| token == word);
    let end = special("<|im_end|>").and_then(|at| u32::try_from(at).ok()).unwrap_or_default();
    let begin = special("<|endoftext|>").and_then(|at| u32::try_from(at).ok()).unwrap_or_default();
    let mut file = Gguf::default();
    let name = kind.name();
    file.text("general.architecture", name);
    file.text("general.name", "tiny");
    for (key, value) in [
        ("context_length", shape.max_position_embeddings),
        ("embedding_length", shape.hidden_size as u32),
        ("block_count", shape.num_hidden_layers),
        ("feed_forward_length", shape.intermediate_size as u32),
        ("attention.head_count", shape.num_attention_heads as u32),
        ("attention.head_count_kv", shape.num_key_value_heads as u32),
        ("attention.key_length", shape.head_dim as u32),
        ("attention.value_length", shape.head_dim as u32),
        ("rope.dimension_count", shape.head_dim as u32),
    ] {
        file.value(&format!("{name}.{key}"), Value::U32(value));
    }
    file.value(&format!("{name}.attention.layer_norm_rms_epsilon"), Value::F32(1e-6));
    if merges.is_empty() {
        file.text("tokenizer.ggml.model", "llama");
    } else {
        file.text("tokenizer.ggml.model", "gpt2");
        file.text("tokenizer.ggml.pre", if kind == Kind::Qwen3 { "qwen2" } else { "llama-bpe" });
        file.value("tokenizer.ggml.merges", Value::Texts(merges));
    }
    let kinds = tokens.iter().map(|token| match token.as_str() {
        special if SPECIAL.contains(&special) => 3,
        // Added, as Qwen3 has them: found whole, and text all the same.
        "<think>" | "</think>" => 4,
        _ => 1,
    });
    file.value("tokenizer.ggml.token_type", Value::Numbers(kinds.collect()));
    weights(&mut file, kind, shape, tokens.len() as u64);
    file.value("tokenizer.ggml.tokens", Value::Texts(tokens));
    file.value("tokenizer.ggml.bos_token_id", Value::U32(begin));
    file.value("tokenizer.ggml.eos_token_id", Value::U32(end));
    file.value("tokenizer.ggml.add_bos_token", Value::Flag(false));
    if let Some(template) = template {
        file.text("tokenizer.chat_template", template);
    }
    let path = folder.join(format!("{name}.gguf"));
    file.write(&path);
    path
}

fn weights(file: &mut Gguf, kind: Kind, shape: ModelConfig, words: u64) {
    let ModelConfig {
        hidden_size,
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        intermediate_size,
        ..
    } = shape;
    let mut chance = Chance(7);
    let mut output = chance.numbers(&[hidden_size, words], 1.0);
    // Unlikely to end: tests count on words.
    output[..SPECIAL.len() * hidden_size as usize].fill(0.0);
    file.tensor("output.weight", &[hidden_size, words], output);
    let mut random = |file: &mut Gguf, name: String, sizes: &[u64], scale| {
        file.tensor(&name, sizes, chance.numbers(sizes, scale));
    };
    let same = |file: &mut Gguf, name: String, size: u64, number| {
        file.tensor(&name, &[size], vec![number; size as usize]);
    };
    random(file, "token_embd.weight".into(), &[hidden_size, words], 0.6);
    same(file, "output_norm.weight".into(), hidden_size, 1.0);
    for layer in 0..shape.num_hidden_layers {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        same(file, name("attn_norm"), hidden_size, 1.0);
        same(file, name("ffn_norm"), hidden_size, 1.0);
        if kind == Kind::Qwen3 {
            // So that attention singles tokens out, as random keys alone do not.
            same(file, name("attn_q_norm"), head_dim, 2.5);
            same(file, name("attn_k_norm"), head_dim, 2.5);
        }
        random(file, name("attn_q"), &[hidden_size, num_attention_heads * head_dim], 0.5);
        random(file, name("attn_k"), &[hidden_size, num_key_value_heads * head_dim], 0.5);
        random(file, name("attn_v"), &[hidden_size, num_key_value_heads * head_dim], 0.5);
        random(file, name("attn_output"), &[num_attention_heads * head_dim, hidden_size], 0.5);
        random(file, name("ffn_gate"), &[hidden_size, intermediate_size], 0.3);
        random(file, name("ffn_up"), &[hidden_size, intermediate_size], 0.3);
        random(file, name("ffn_down"), &[intermediate_size, hidden_size], 0.3);
    }
}

/// What may be wrong with an adapter.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Flaw {
    None,
    Rank,
    Shape,
    Tensor,
    Half,
    Activated,
}

/// An adapter for a tiny model, written into a folder.
pub(crate) fn adapter(folder: &Path, kind: Kind, seed: u64, flaw: Flaw) -> PathBuf {
    const RANK: u64 = 4;
    let ModelConfig { hidden_size, num_hidden_layers, num_attention_heads, head_dim, .. } = TINY;
    let mut file = Gguf::default();
    file.text("general.type", "adapter");
    file.text("general.architecture", kind.name());
    file.text("adapter.type", "lora");
    file.value("adapter.lora.alpha", Value::F32(8.0));
    if flaw == Flaw::Activated {
        file.value("adapter.alora.invocation_tokens", Value::Numbers(vec![1, 2]));
    }
    let mut chance = Chance(seed);
    let num_hidden_layers =
        if flaw == Flaw::Tensor { num_hidden_layers + 1 } else { num_hidden_layers };
    for layer in 0..num_hidden_layers {
        let hidden_size = if flaw == Flaw::Shape { hidden_size * 2 } else { hidden_size };
        let a = [hidden_size, RANK];
        let b = [if flaw == Flaw::Rank { RANK * 2 } else { RANK }, num_attention_heads * head_dim];
        let name = format!("blk.{layer}.attn_q.weight");
        file.tensor(&format!("{name}.lora_a"), &a, chance.numbers(&a, 0.5));
        if flaw != Flaw::Half {
            file.tensor(&format!("{name}.lora_b"), &b, chance.numbers(&b, 0.5));
        }
    }
    let path = folder.join(format!("adapter-{}-{seed}.gguf", kind.name()));
    file.write(&path);
    path
}

/// A byte-level vocabulary and its merges.
fn vocabulary() -> (Vec<String>, Vec<String>) {
    let mut trainer = BpeTrainer::builder()
        .vocab_size(WORDS)
        .special_tokens(SPECIAL.map(|word| AddedToken::from(word, true)).to_vec())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .show_progress(false)
        .build();
    let mut tokenizer = TokenizerBuilder::<BPE, NormalizerWrapper, _, _, ByteLevel>::default()
        .with_model(BPE::default())
        .with_pre_tokenizer(Some(ByteLevel::default()))
        .with_post_processor(Some(ByteLevel::default()))
        .with_decoder(Some(ByteLevel::default()))
        .build()
        .unwrap();
    tokenizer.train(&mut trainer, [TEXT].into_iter()).unwrap();
    let words = tokenizer.get_model().get_vocab();
    let mut tokens: Vec<(u32, String)> = words.into_iter().map(|(word, id)| (id, word)).collect();
    tokens.sort_unstable();
    let model = serde_json::to_value(tokenizer.get_model()).unwrap();
    let merges = model["merges"].as_array().unwrap().iter().map(|pair| {
        let [left, right] = [0, 1].map(|at| pair[at].as_str().unwrap());
        format!("{left} {right}")
    });
    (tokens.into_iter().map(|(_, word)| word).collect(), merges.collect())
}
