//! A model of random weights and a tokenizer learned from text: where a student
//! that is trained from nothing begins.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor, safetensors};
use fixfly_runtime::{CHATS, find};
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, TokenizerBuilder, TokenizerImpl};

use super::chance::{key, unit};
use super::error::TrainError;

/// How Qwen's tokenizers cut text into words; llama.cpp knows it by this.
const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Tokens of the chat template, which no text makes.
const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const THOUGHT: [&str; 2] = ["<think>", "</think>"];

/// Sizes of a model of Qwen3's architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blank {
    /// Numbers of a token between layers.
    pub width: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kept_heads: usize,
    /// Numbers of a token inside a layer.
    pub inner: usize,
    /// Tokens there are at most.
    pub vocabulary: usize,
    /// The longest text, in tokens.
    pub context: usize,
    /// What weights are drawn from.
    pub seed: u64,
}

impl Blank {
    /// Writes a model folder as Hugging Face has them; the tokens are learned
    /// from `texts`.
    ///
    /// # Errors
    /// [`TrainError`] where sizes do not fit each other, or nothing can be written.
    pub fn write(
        &self,
        texts: impl Iterator<Item = String> + Send,
        folder: &Path,
    ) -> Result<(), TrainError> {
        let Blank { width, heads, kept_heads, .. } = *self;
        let fits = heads > 0 && kept_heads > 0 && width.is_multiple_of(2 * heads);
        if !fits || !heads.is_multiple_of(kept_heads) {
            return Err(TrainError::Settings(format!(
                "--width {width} cannot be cut into {heads} heads of an even size, or these not share {kept_heads}"
            )));
        }
        fs::create_dir_all(folder).map_err(TrainError::io("make", folder))?;
        let put = |name: &str, text: String| {
            let file = folder.join(name);
            fs::write(&file, text).map_err(TrainError::io("write", &file))
        };
        let (tokenizer, tokens) = tokenizer(texts, self.vocabulary)?;
        put("tokenizer.json", tokenizer)?;
        let chat = find("chat template", CHATS, "qwen3").map_err(TrainError::Settings)?;
        put("chat_template.jinja", chat.open.to_string())?;
        let about = json!({
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": self.context,
            "eos_token": SPECIAL[2], "pad_token": SPECIAL[0],
        });
        put("tokenizer_config.json", pretty(&about))?;
        put("config.json", pretty(&self.config(tokens)))?;
        safetensors::save(&self.weights(tokens)?, folder.join("model.safetensors"))?;
        Ok(())
    }

    fn head(&self) -> usize {
        self.width / self.heads
    }

    fn config(&self, tokens: usize) -> Value {
        json!({
            "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "torch_dtype": "float32",
            "hidden_size": self.width, "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads, "num_key_value_heads": self.kept_heads,
            "head_dim": self.head(), "intermediate_size": self.inner, "hidden_act": "silu",
            "vocab_size": tokens, "max_position_embeddings": self.context, "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0, "tie_word_embeddings": true, "attention_bias": false,
        })
    }

    /// Each matrix keeps the size of what goes through it; those that add to the
    /// stream between layers are smaller the more of them there are.
    fn weights(&self, tokens: usize) -> Result<HashMap<String, Tensor>, TrainError> {
        let (width, head, inner) = (self.width, self.head(), self.inner);
        let (queries, kept) = (self.heads * head, self.kept_heads * head);
        let mut all = HashMap::new();
        let mut put = |name: String, sizes: &[usize], scale: f64| {
            let numbers = match sizes {
                [_] => Tensor::ones(sizes, DType::F32, &Device::Cpu)?,
                _ => {
                    let numbers = normal(key(&[self.seed, all.len() as u64]), sizes, scale);
                    Tensor::from_vec(numbers, sizes, &Device::Cpu)?
                }
            };
            all.insert(name, numbers);
            Ok::<_, TrainError>(())
        };
        put("model.embed_tokens.weight".into(), &[tokens, width], 1.0)?;
        put("model.norm.weight".into(), &[width], 1.0)?;
        let added = (2.0 * self.layers as f64).powf(-0.5);
        for layer in 0..self.layers {
            let parts: [(&str, &[usize], f64); 11] = [
                ("input_layernorm", &[width], 1.0),
                ("post_attention_layernorm", &[width], 1.0),
                ("self_attn.q_norm", &[head], 1.0),
                ("self_attn.k_norm", &[head], 1.0),
                ("self_attn.q_proj", &[queries, width], 1.0),
                ("self_attn.k_proj", &[kept, width], 1.0),
                ("self_attn.v_proj", &[kept, width], 1.0),
                ("self_attn.o_proj", &[width, queries], added),
                ("mlp.gate_proj", &[inner, width], 1.0),
                ("mlp.up_proj", &[inner, width], 1.0),
                ("mlp.down_proj", &[width, inner], added),
            ];
            for (part, sizes, scale) in parts {
                put(format!("model.layers.{layer}.{part}.weight"), sizes, scale)?;
            }
        }
        Ok(all)
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|e| unreachable!("plain data: {e}")) + "\n"
}

/// Numbers of a normal distribution (Box and Muller 1958), the smaller the more
/// of them are summed.
fn normal(seed: u64, sizes: &[usize], scale: f64) -> Vec<f32> {
    let summed = sizes.last().map_or(1.0, |size| *size as f64);
    let number = |at: u64| {
        let (radius, angle) = (1.0 - unit(seed, 2 * at), unit(seed, 2 * at + 1));
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    };
    let count: usize = sizes.iter().product();
    (0..count as u64).map(|at| (scale * summed.powf(-0.5) * number(at)) as f32).collect()
}

/// A byte-level tokenizer as Qwen's are built, as text, and how many tokens it has.
fn tokenizer(
    texts: impl Iterator<Item = String> + Send,
    most: usize,
) -> Result<(String, usize), TrainError> {
    let wrong = |why: tokenizers::Error| {
        TrainError::Rows(format!("no tokenizer can be learned from the dataset: {why}"))
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
        .vocab_size(most.saturating_sub(SPECIAL.len() + THOUGHT.len()))
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    tokenizer.train(&mut trainer, texts).map_err(wrong)?;
    let added = |word: &str, special| AddedToken::from(word, special).normalized(false);
    tokenizer.add_special_tokens(SPECIAL.map(|word| added(word, true))).map_err(wrong)?;
    tokenizer.add_tokens(THOUGHT.map(|word| added(word, false))).map_err(wrong)?;
    let count = tokenizer.get_vocab_size(true);
    Ok((tokenizer.to_string(true).map_err(wrong)?, count))
}

#[cfg(test)]
mod tests {
    use super::super::shape::Shape;
    use super::super::weights::Weights;
    use super::*;

    #[test]
    fn a_blank_model_is_a_model_folder_with_a_tokenizer_of_its_own() {
        let blank = Blank {
            width: 32,
            layers: 2,
            heads: 4,
            kept_heads: 2,
            inner: 48,
            vocabulary: 300,
            context: 64,
            seed: 1,
        };
        let texts =
            || ["def f(self):\n    return é\n".to_string(), "<|im_start|>".into()].into_iter();
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        blank.write(texts(), &one).unwrap();
        blank.write(texts(), &other).unwrap();
        for name in ["model.safetensors", "tokenizer.json", "config.json"] {
            assert_eq!(fs::read(one.join(name)).unwrap(), fs::read(other.join(name)).unwrap());
        }
        let shape = Shape::open(&one).unwrap();
        assert!((261..=300).contains(&shape.vocabulary), "{}", shape.vocabulary);
        let sizes = [shape.vocabulary, 32];
        let weights = Weights::open(&one).unwrap();
        let embedding = weights.get("model.embed_tokens.weight", &sizes, DType::F32, &Device::Cpu);
        let square = embedding.unwrap().sqr().unwrap().mean_all().unwrap();
        let square = square.to_scalar::<f32>().unwrap();
        assert!((square * 32.0 - 1.0).abs() < 0.05, "each token is of size 1: {square}");
        let read = tokenizers::Tokenizer::from_file(one.join("tokenizer.json")).unwrap();
        let text = "<|im_start|>user\ndef f(self):\n    return é<|im_end|>";
        let ids = read.encode(text, false).unwrap();
        assert_eq!(read.decode(ids.get_ids(), false).unwrap(), text);
        let special = ids.get_ids().iter().filter(|id| **id as usize + 5 >= shape.vocabulary);
        assert_eq!(special.count(), 2);
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let blank = Blank {
            width: 30,
            layers: 1,
            heads: 4,
            kept_heads: 2,
            inner: 8,
            vocabulary: 300,
            context: 8,
            seed: 0,
        };
        let refused = blank.write(std::iter::empty(), Path::new("/nowhere")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "--width 30 cannot be cut into 4 heads of an even size, or these not share 2"
        );
    }
}
