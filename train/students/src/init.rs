//! Creates a randomly initialised model, and trains its tokenizer on text: the start of
//! pretraining.
//!
//! Fixing code is mostly copying. With an ordinary random initialisation, a small model
//! learns to copy late or never: one head has to attend to the previous token, and another
//! has to use that (Olsson et al. 2022, In-context Learning and Induction Heads). The heads
//! of the first layer are therefore initialised to attend to the previous token, and every
//! head writes its values unchanged (similar to Trockman & Kolter 2023, Mimetic
//! Initialization of Self-Attention Layers).

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor, safetensors};
use fixfly_runtime::{CHATS, find};
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, TokenizerBuilder, TokenizerImpl};

use crate::chance::{key, unit};
use crate::error::TrainError;
use crate::model_config::rotations;

/// The pre-tokenizer pattern of Qwen's tokenizers, by which llama.cpp identifies it.
const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Special tokens of the chat template.
const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const THINK_TAGS: [&str; 2] = ["<think>", "</think>"];

// Initialisation constants, chosen on 9,600 rows of the experiment `closed-loop`.
/// Size of the embedding part that all tokens share, relative to a token's own part.
const SHARED: f32 = 0.7;
/// Pairs of elements per head that attend to the previous token.
const QUICKEST: usize = 3;
/// Weight of attending to the previous token, and of the remaining random weights.
const FIRM: f32 = 0.6;
const LOOSE: f32 = 0.3;
/// Scale of the attention output.
const WRITTEN: f32 = 0.7;

/// Hyperparameters of a model with Qwen3's architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomInit {
    /// Hidden size.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Number of key-value heads.
    pub num_key_value_heads: usize,
    /// Intermediate size of the MLPs.
    pub intermediate_size: usize,
    /// Maximum size of the vocabulary.
    pub vocab_size: usize,
    /// Maximum sequence length, in tokens.
    pub max_position_embeddings: usize,
    /// Base of the rotary position embedding. A smaller base uses more elements of a head
    /// to separate near tokens.
    pub rope_theta: f64,
    /// Seed of the random weights.
    pub seed: u64,
}

impl RandomInit {
    /// Writes a Hugging Face model folder; the tokenizer is trained on `texts`.
    ///
    /// # Errors
    /// [`TrainError`] if the sizes do not match, or a file cannot be written.
    pub fn write(
        &self,
        texts: impl Iterator<Item = String> + Send,
        folder: &Path,
    ) -> Result<(), TrainError> {
        let RandomInit { hidden_size, num_attention_heads, num_key_value_heads, .. } = *self;
        let fits = num_attention_heads > 0
            && num_key_value_heads > 0
            && hidden_size.is_multiple_of(2 * num_attention_heads);
        if !fits || !num_attention_heads.is_multiple_of(num_key_value_heads) {
            return Err(TrainError::Settings(format!(
                "--hidden-size {hidden_size} must be a multiple of twice --num-attention-heads {num_attention_heads}, and that a multiple of --num-key-value-heads {num_key_value_heads}"
            )));
        }
        if !self.rope_theta.is_finite() || self.rope_theta <= 1.0 {
            return Err(TrainError::Settings(format!(
                "--rope-theta {} is invalid; it must be a finite number above 1",
                self.rope_theta
            )));
        }
        fs::create_dir_all(folder).map_err(TrainError::io("make", folder))?;
        let put = |name: &str, text: String| {
            let file = folder.join(name);
            fs::write(&file, text).map_err(TrainError::io("write", &file))
        };
        let (tokenizer, tokens) = tokenizer(texts, self.vocab_size)?;
        put("tokenizer.json", tokenizer)?;
        let chat = find("chat template", CHATS, "qwen3").map_err(TrainError::Settings)?;
        put("chat_template.jinja", chat.open.to_string())?;
        let about = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": self.max_position_embeddings,
            "eos_token": SPECIAL[2], "pad_token": SPECIAL[0],
        });
        put("tokenizer_config.json", pretty(&about))?;
        put("config.json", pretty(&self.config(tokens)))?;
        safetensors::save(&self.weights(tokens)?, folder.join("model.safetensors"))?;
        Ok(())
    }

    fn head(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    fn config(&self, tokens: usize) -> Value {
        json!({
            "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "torch_dtype": "float32",
            "hidden_size": self.hidden_size, "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads, "head_dim": self.head(),
            "intermediate_size": self.intermediate_size, "hidden_act": "silu",
            "vocab_size": tokens, "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": 1e-6, "rope_theta": self.rope_theta, "tie_word_embeddings": true,
            "attention_bias": false,
        })
    }

    /// The weights keep the scale of activations. Matrices that add to the residual stream
    /// are scaled down with the number of layers.
    fn weights(&self, tokens: usize) -> Result<HashMap<String, Tensor>, TrainError> {
        let (width, head, intermediate) = (self.hidden_size, self.head(), self.intermediate_size);
        let (queries, kept) = (self.num_attention_heads * head, self.num_key_value_heads * head);
        let mut all = HashMap::new();
        let mut put = |name: String, sizes: &[usize], numbers: Vec<f32>| {
            all.insert(name, Tensor::from_vec(numbers, sizes, &Device::Cpu)?);
            Ok::<_, TrainError>(())
        };
        let mut drawn = 0;
        let mut draw = |rows: usize, columns: usize| {
            drawn += 1;
            normal(key(&[self.seed, drawn]), rows, columns)
        };
        let shared = unit_size(draw(1, width));
        let words =
            draw(tokens, width).chunks(width).flat_map(|word| akin(word, &shared)).collect();
        put("model.embed_tokens.weight".into(), &[tokens, width], words)?;
        put("model.norm.weight".into(), &[width], vec![1.0; width])?;
        let added = (2.0 * self.num_hidden_layers as f32).powf(-0.5);
        for layer in 0..self.num_hidden_layers {
            let mut put = |part: &str, sizes: &[usize], numbers: Vec<f32>| {
                put(format!("model.layers.{layer}.{part}.weight"), sizes, numbers)
            };
            for (part, size) in [
                ("input_layernorm", width),
                ("post_attention_layernorm", width),
                ("self_attn.q_norm", head),
                ("self_attn.k_norm", head),
            ] {
                put(part, &[size], vec![1.0; size])?;
            }
            let (mut q, mut k) = (draw(queries, width), draw(kept, width));
            if layer == 0 {
                self.look_back(&mut q, &mut k, &shared, &mut draw);
            }
            put("self_attn.q_proj", &[queries, width], q)?;
            put("self_attn.k_proj", &[kept, width], k)?;
            let v = apart(draw(kept, width), width);
            put("self_attn.o_proj", &[width, queries], self.as_it_was(&v))?;
            put("self_attn.v_proj", &[kept, width], v)?;
            put("mlp.gate_proj", &[intermediate, width], draw(intermediate, width))?;
            put("mlp.up_proj", &[intermediate, width], draw(intermediate, width))?;
            let down = draw(width, intermediate).iter().map(|number| added * number).collect();
            put("mlp.down_proj", &[width, intermediate], down)?;
        }
        Ok(all)
    }

    /// Adds weights that map the shared part of all embeddings to a query and to a key.
    /// Their product is largest if the key is one token before the query: both are the same
    /// vector, rotated by one position. Only the pairs with the fastest rotations separate
    /// the previous token from its neighbours.
    fn look_back(
        &self,
        q: &mut [f32],
        k: &mut [f32],
        shared: &[f32],
        draw: &mut impl FnMut(usize, usize) -> Vec<f32>,
    ) {
        let (half, block) = (self.head() / 2, self.head() * self.hidden_size);
        let quick = half.min(QUICKEST);
        let angles = draw(self.num_key_value_heads, half);
        let turn = |of: &mut [f32], angles: &[f32], by: f64| {
            of.iter_mut().for_each(|number| *number *= LOOSE);
            let rotations = rotations(self.rope_theta, half).take(quick);
            for (pair, (angle, rotation)) in angles.iter().zip(rotations).enumerate() {
                let angle = TAU * f64::from(*angle) - by * rotation;
                for (row, side) in [(pair, angle.cos()), (pair + half, angle.sin())] {
                    let strength = FIRM * (side / (quick as f64).sqrt()) as f32;
                    let row = &mut of[row * self.hidden_size..][..self.hidden_size];
                    row.iter_mut()
                        .zip(shared)
                        .for_each(|(number, part)| *number += strength * part);
                }
            }
        };
        for (at, q) in q.chunks_mut(block).enumerate() {
            let kept = at / (self.num_attention_heads / self.num_key_value_heads);
            turn(q, &angles[kept * half..], 1.0);
        }
        for (kept, k) in k.chunks_mut(block).enumerate() {
            turn(k, &angles[kept * half..], 0.0);
        }
    }

    /// The output matrix: the transpose of the value matrix, so that values are written
    /// unchanged.
    fn as_it_was(&self, v: &[f32]) -> Vec<f32> {
        let (head, share) = (self.head(), self.num_attention_heads / self.num_key_value_heads);
        let queries = self.num_attention_heads * head;
        let mut written = vec![0.0; self.hidden_size * queries];
        for query in 0..queries {
            let kept = query / head / share * head + query % head;
            for at in 0..self.hidden_size {
                written[at * queries + query] =
                    WRITTEN / share as f32 * v[kept * self.hidden_size + at];
            }
        }
        written
    }
}

/// A token's embedding: its own part and the shared part.
fn akin(word: &[f32], shared: &[f32]) -> Vec<f32> {
    let size = (1.0 + SHARED * SHARED).sqrt();
    word.iter().zip(shared).map(|(own, part)| (own + SHARED * part) / size).collect()
}

fn unit_size(mut numbers: Vec<f32>) -> Vec<f32> {
    let size = dot(&numbers, &numbers).sqrt();
    numbers.iter_mut().for_each(|number| *number /= size);
    numbers
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// Orthogonal rows of length 1 (Gram-Schmidt).
fn apart(mut numbers: Vec<f32>, width: usize) -> Vec<f32> {
    for row in 0..numbers.len() / width {
        let (done, rest) = numbers.split_at_mut(row * width);
        let row = &mut rest[..width];
        for other in done.chunks(width) {
            let part = dot(row, other);
            row.iter_mut().zip(other).for_each(|(number, other)| *number -= part * other);
        }
        row.copy_from_slice(&unit_size(row.to_vec()));
    }
    numbers
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|e| unreachable!("plain data: {e}")) + "\n"
}

/// Normally distributed numbers (Box and Muller 1958), scaled by 1/√columns.
fn normal(seed: u64, rows: usize, columns: usize) -> Vec<f32> {
    let scale = (columns as f64).powf(-0.5);
    let number = |at: u64| {
        let (radius, angle) = (1.0 - unit(seed, 2 * at), unit(seed, 2 * at + 1));
        (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()
    };
    (0..(rows * columns) as u64).map(|at| (scale * number(at)) as f32).collect()
}

/// Trains a byte-level tokenizer like Qwen's. Returns its JSON and its number of tokens.
fn tokenizer(
    texts: impl Iterator<Item = String> + Send,
    most: usize,
) -> Result<(String, usize), TrainError> {
    let wrong = |why: tokenizers::Error| {
        TrainError::Rows(format!("cannot train a tokenizer on the dataset: {why}"))
    };
    let bytes = || ByteLevel::new(false, false, false);
    let (pattern, apart) = (SplitPattern::Regex(WORDS.into()), SplitDelimiterBehavior::Isolated);
    let split = Split::new(pattern, apart, false).map_err(wrong)?;
    let words: Vec<PreTokenizerWrapper> = vec![split.into(), bytes().into()];
    let mut tokenizer: TokenizerImpl<BPE, NFC, Sequence, ByteLevel, ByteLevel> =
        TokenizerBuilder::default()
            .with_model(BPE::default())
            .with_normalizer(Some(NFC))
            .with_pre_tokenizer(Some(Sequence::new(words)))
            .with_post_processor(None)
            .with_decoder(Some(bytes()))
            .build()
            .map_err(wrong)?;
    let mut trainer = BpeTrainer::builder()
        .vocab_size(most.saturating_sub(SPECIAL.len() + THINK_TAGS.len()))
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    tokenizer.train(&mut trainer, texts).map_err(wrong)?;
    let added = |word: &str, special| AddedToken::from(word, special).normalized(false);
    tokenizer.add_special_tokens(SPECIAL.map(|word| added(word, true))).map_err(wrong)?;
    tokenizer.add_tokens(THINK_TAGS.map(|word| added(word, false))).map_err(wrong)?;
    let count = tokenizer.get_vocab_size(true);
    Ok((tokenizer.to_string(true).map_err(wrong)?, count))
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::model_config::ModelConfig;
    use crate::weights::Weights;

    #[test]
    fn it_writes_a_model_folder_with_its_own_tokenizer() {
        let init = RandomInit {
            hidden_size: 32,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            intermediate_size: 48,
            vocab_size: 300,
            max_position_embeddings: 64,
            rope_theta: 10000.0,
            seed: 1,
        };
        let texts =
            || ["def f(self):\n    return é\n".to_string(), "<|im_start|>".into()].into_iter();
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        init.write(texts(), &one).unwrap();
        init.write(texts(), &other).unwrap();
        for name in ["model.safetensors", "tokenizer.json", "config.json"] {
            assert_eq!(fs::read(one.join(name)).unwrap(), fs::read(other.join(name)).unwrap());
        }
        let shape = ModelConfig::open(&one).unwrap();
        assert!((261..=300).contains(&shape.vocab_size), "{}", shape.vocab_size);
        let sizes = [shape.vocab_size, 32];
        let weights = Weights::folder(&one).unwrap();
        let embedding = weights.get("model.embed_tokens.weight", &sizes, DType::F32, &Device::Cpu);
        let square = embedding.unwrap().sqr().unwrap().mean_all().unwrap();
        let square = square.to_scalar::<f32>().unwrap();
        assert!((square * 32.0 - 1.0).abs() < 0.05, "each token is of size 1: {square}");
        let read = tokenizers::Tokenizer::from_file(one.join("tokenizer.json")).unwrap();
        let text = "<|im_start|>user\ndef f(self):\n    return é<|im_end|>";
        let ids = read.encode(text, false).unwrap();
        assert_eq!(read.decode(ids.get_ids(), false).unwrap(), text);
        let special = ids.get_ids().iter().filter(|id| **id as usize + 5 >= shape.vocab_size);
        assert_eq!(special.count(), 2);
    }

    #[test]
    fn the_first_layer_looks_one_token_back_and_writes_what_it_read() {
        let check = |heads, key_value_heads, theta| {
            let init = RandomInit {
                hidden_size: 96,
                num_hidden_layers: 1,
                num_attention_heads: heads,
                num_key_value_heads: key_value_heads,
                intermediate_size: 8,
                vocab_size: 300,
                max_position_embeddings: 64,
                rope_theta: theta,
                seed: 3,
            };
            let (head, width) = (init.head(), init.hidden_size);
            let weights = init.weights(300).unwrap();
            let read = |name: &str| weights[name].to_vec2::<f32>().unwrap();
            let embedding = read("model.embed_tokens.weight");
            let [q, k, v, o] = ["q", "k", "v", "o"]
                .map(|part| read(&format!("model.layers.0.self_attn.{part}_proj.weight")));
            // Proportional to the mean embedding of all tokens.
            let mean = |at: usize| embedding.iter().map(|word| word[at]).sum::<f32>();
            let mean: Vec<f32> = (0..width).map(mean).collect();
            for query in 0..heads {
                let kept = query / (heads / key_value_heads);
                let part = |of: &[Vec<f32>], pair: usize| f64::from(dot(&of[pair], &mean));
                let fits = |back: usize| -> f64 {
                    let pairs = (0..head / 2).map(|pair| {
                        let turned = back as f64 * theta.powf(-2.0 * pair as f64 / head as f64);
                        let (q, k) = (&q[query * head..], &k[kept * head..]);
                        let (a, b) = (part(q, pair), part(q, pair + head / 2));
                        let (c, d) = (part(k, pair), part(k, pair + head / 2));
                        (a * c + b * d) * turned.cos() + (a * d - b * c) * turned.sin()
                    });
                    pairs.sum()
                };
                let best = (0..40).max_by(|one, other| fits(*one).total_cmp(&fits(*other)));
                assert_eq!(best, Some(1), "head {query} of {heads}, theta {theta}");
            }
            let share = heads / key_value_heads;
            for (one, row) in v.iter().enumerate() {
                for (other, column) in v.iter().enumerate() {
                    let expected = if one == other { 1.0 } else { 0.0 };
                    assert!((dot(row, column) - expected).abs() < 1e-4);
                }
                let query = one / head * share * head + one % head;
                let written = o.iter().map(|row| row[query]);
                for (written, read) in written.zip(row) {
                    assert!((written - WRITTEN / share as f32 * read).abs() < 1e-6);
                }
            }
        };
        check(3, 3, 500.0);
        check(6, 2, 500.0);
        check(4, 1, 10_000.0);
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let check = |width, theta, expected: &str| {
            let init = RandomInit {
                hidden_size: width,
                num_hidden_layers: 1,
                num_attention_heads: 4,
                num_key_value_heads: 2,
                intermediate_size: 8,
                vocab_size: 300,
                max_position_embeddings: 8,
                rope_theta: theta,
                seed: 0,
            };
            let refused = init.write(std::iter::empty(), Path::new("/nowhere")).unwrap_err();
            assert_eq!(refused.to_string(), expected);
        };
        let uneven = "--hidden-size 30 must be a multiple of twice --num-attention-heads 4, and that a multiple of --num-key-value-heads 2";
        check(30, 10_000.0, uneven);
        check(32, f64::INFINITY, "--rope-theta inf is invalid; it must be a finite number above 1");
        check(32, 1.0, "--rope-theta 1 is invalid; it must be a finite number above 1");
    }
}
