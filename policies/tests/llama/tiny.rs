//! Tiny models with random weights: real files for the real llama.cpp.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::gguf::{Gguf, Value};

const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
/// Size of the vocabulary.
const WORDS: usize = 512;
const WIDTH: u64 = 64;
const LAYERS: u32 = 2;
const HEADS: u64 = 2;
const KEPT: u64 = 1;
const HEAD: u64 = 32;
const INNER: u64 = 128;
pub(crate) const WINDOW: u32 = 4096;

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

/// A model, written into a folder.
pub(crate) fn model(folder: &Path, kind: Kind, template: Option<&str>) -> PathBuf {
    let (tokens, merges) = vocabulary();
    let mut file = Gguf::default();
    let name = kind.name();
    file.text("general.architecture", name);
    file.text("general.name", "tiny");
    for (key, value) in [
        ("context_length", WINDOW),
        ("embedding_length", WIDTH as u32),
        ("block_count", LAYERS),
        ("feed_forward_length", INNER as u32),
        ("attention.head_count", HEADS as u32),
        ("attention.head_count_kv", KEPT as u32),
        ("attention.key_length", HEAD as u32),
        ("attention.value_length", HEAD as u32),
        ("rope.dimension_count", HEAD as u32),
    ] {
        file.value(&format!("{name}.{key}"), Value::U32(value));
    }
    file.value(&format!("{name}.attention.layer_norm_rms_epsilon"), Value::F32(1e-6));
    file.text("tokenizer.ggml.model", "gpt2");
    file.text("tokenizer.ggml.pre", if kind == Kind::Qwen3 { "qwen2" } else { "llama-bpe" });
    let kinds = tokens.iter().map(|token| if SPECIAL.contains(&&**token) { 3 } else { 1 });
    file.value("tokenizer.ggml.token_type", Value::Numbers(kinds.collect()));
    weights(&mut file, kind, tokens.len() as u64);
    file.value("tokenizer.ggml.tokens", Value::Texts(tokens));
    file.value("tokenizer.ggml.merges", Value::Texts(merges));
    file.value("tokenizer.ggml.bos_token_id", Value::U32(0));
    file.value("tokenizer.ggml.eos_token_id", Value::U32(2));
    file.value("tokenizer.ggml.add_bos_token", Value::Flag(false));
    if let Some(template) = template {
        file.text("tokenizer.chat_template", template);
    }
    let path = folder.join(format!("{name}.gguf"));
    file.write(&path);
    path
}

fn weights(file: &mut Gguf, kind: Kind, words: u64) {
    let mut chance = Chance(7);
    let mut random = |file: &mut Gguf, name: String, sizes: &[u64], scale| {
        file.tensor(&name, sizes, chance.numbers(sizes, scale));
    };
    let same = |file: &mut Gguf, name: String, size: u64, number| {
        file.tensor(&name, &[size], vec![number; size as usize]);
    };
    random(file, "token_embd.weight".into(), &[WIDTH, words], 0.6);
    random(file, "output.weight".into(), &[WIDTH, words], 1.0);
    same(file, "output_norm.weight".into(), WIDTH, 1.0);
    for layer in 0..LAYERS {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        same(file, name("attn_norm"), WIDTH, 1.0);
        same(file, name("ffn_norm"), WIDTH, 1.0);
        if kind == Kind::Qwen3 {
            // So that attention singles tokens out, as random keys alone do not.
            same(file, name("attn_q_norm"), HEAD, 2.5);
            same(file, name("attn_k_norm"), HEAD, 2.5);
        }
        random(file, name("attn_q"), &[WIDTH, HEADS * HEAD], 0.5);
        random(file, name("attn_k"), &[WIDTH, KEPT * HEAD], 0.5);
        random(file, name("attn_v"), &[WIDTH, KEPT * HEAD], 0.5);
        random(file, name("attn_output"), &[HEADS * HEAD, WIDTH], 0.5);
        random(file, name("ffn_gate"), &[WIDTH, INNER], 0.3);
        random(file, name("ffn_up"), &[WIDTH, INNER], 0.3);
        random(file, name("ffn_down"), &[INNER, WIDTH], 0.3);
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
}

/// An adapter for a tiny model, written into a folder.
pub(crate) fn adapter(folder: &Path, kind: Kind, seed: u64, flaw: Flaw) -> PathBuf {
    const RANK: u64 = 4;
    let mut file = Gguf::default();
    file.text("general.type", "adapter");
    file.text("general.architecture", kind.name());
    file.text("adapter.type", "lora");
    file.value("adapter.lora.alpha", Value::F32(8.0));
    let mut chance = Chance(seed);
    let layers = if flaw == Flaw::Tensor { LAYERS + 1 } else { LAYERS };
    for layer in 0..layers {
        let width = if flaw == Flaw::Shape { WIDTH * 2 } else { WIDTH };
        let a = [width, RANK];
        let b = [if flaw == Flaw::Rank { RANK * 2 } else { RANK }, HEADS * HEAD];
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

/// A byte-level vocabulary, trained on this file, and its merges.
fn vocabulary() -> (Vec<String>, Vec<String>) {
    let words = include_str!("tiny.rs").split_inclusive(' ');
    let word = |word: &str| word.bytes().map(|byte| letter(byte).to_string()).collect();
    let mut words: Vec<Vec<String>> = words.map(word).collect();
    let mut tokens: Vec<String> = SPECIAL.map(String::from).to_vec();
    tokens.extend((0..=255).map(|byte| letter(byte).to_string()));
    let mut merges = Vec::new();
    while tokens.len() < WORDS {
        let mut pairs = BTreeMap::<(&str, &str), u32>::new();
        for pair in words.iter().flat_map(|word| word.windows(2)) {
            *pairs.entry((&pair[0], &pair[1])).or_default() += 1;
        }
        let (&(left, right), _) = pairs.iter().max_by_key(|(_, count)| **count).unwrap();
        let (left, right) = (left.to_string(), right.to_string());
        for word in &mut words {
            merge(word, &left, &right);
        }
        merges.push(format!("{left} {right}"));
        tokens.push(left + &right);
    }
    (tokens, merges)
}

fn merge(word: &mut Vec<String>, left: &str, right: &str) {
    let mut at = 0;
    while at + 1 < word.len() {
        if word[at] == left && word[at + 1] == right {
            let right = word.remove(at + 1);
            word[at].push_str(&right);
        }
        at += 1;
    }
}

/// How byte-level vocabularies write a byte: as itself where it can be seen,
/// else as a letter beyond the first 256.
fn letter(byte: u8) -> char {
    let seen = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    match seen(&byte) {
        true => byte.into(),
        false => {
            let before = (0..byte).filter(|byte| !seen(byte)).count() as u32;
            char::from_u32(256 + before).unwrap()
        }
    }
}
