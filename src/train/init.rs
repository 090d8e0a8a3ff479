//! `fixfly train init`: creates a randomly initialised model for pretraining.

use std::path::PathBuf;

use clap::Args;

use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly run faults --policy null --turns 0 --split train -o runs/tasks
  fixfly dataset build --recipe originals runs/tasks -o datasets/text
  fixfly train init --dataset datasets/text -o models/tiny
  fixfly dataset build --recipe originals runs/tasks --format tokens --tokenizer models/tiny/tokenizer.json -o datasets/tiny
  fixfly train full --base models/tiny --dataset datasets/tiny -o students/tiny --lr 2e-3

Writes a Hugging Face model folder: Qwen3's architecture and chat template, random
weights, and a byte-level tokenizer trained on the dataset's messages.")]
pub(crate) struct Flags {
    /// Dataset folder to train the tokenizer on
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,

    /// Model folder to write
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Hidden size
    #[arg(long, value_name = "N", default_value_t = 256)]
    hidden_size: usize,

    /// Number of layers
    #[arg(long, value_name = "N", default_value_t = 4)]
    num_hidden_layers: usize,

    /// Number of attention heads
    #[arg(long, value_name = "N", default_value_t = 8)]
    num_attention_heads: usize,

    /// Number of key-value heads
    #[arg(long, value_name = "N", default_value_t = 4)]
    num_key_value_heads: usize,

    /// Intermediate size of the MLPs
    #[arg(long, value_name = "N", default_value_t = 768)]
    intermediate_size: usize,

    /// Maximum size of the vocabulary
    #[arg(long, value_name = "N", default_value_t = 1024)]
    vocab_size: usize,

    /// Maximum sequence length, in tokens
    #[arg(long, value_name = "N", default_value_t = 2048)]
    max_position_embeddings: usize,

    /// Base of the rotary position embedding; a smaller one separates near tokens better
    /// in short texts
    #[arg(long, value_name = "X", default_value_t = 10000.0)]
    rope_theta: f64,

    /// Seed of the random weights
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
}

#[cfg(feature = "train")]
pub(crate) fn init(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    use fixfly_datasets::Dataset;
    use fixfly_students::{ModelConfig, RandomInit};

    let rows = Dataset::open(&flags.dataset)?.rows()?.collect::<Result<Vec<_>, _>>()?;
    let texts = rows.into_iter().flat_map(|row| row.messages).map(|message| message.content);
    let model = RandomInit {
        hidden_size: flags.hidden_size,
        num_hidden_layers: flags.num_hidden_layers,
        num_attention_heads: flags.num_attention_heads,
        num_key_value_heads: flags.num_key_value_heads,
        intermediate_size: flags.intermediate_size,
        vocab_size: flags.vocab_size,
        max_position_embeddings: flags.max_position_embeddings,
        rope_theta: flags.rope_theta,
        seed: flags.seed,
    };
    model.write(texts, &flags.output)?;
    let tokens = ModelConfig::open(&flags.output)?.vocab_size;
    terminal.status(&format!(
        "{}: random weights, a vocabulary of {tokens} tokens",
        flags.output.display()
    ));
    Ok(())
}

#[cfg(not(feature = "train"))]
pub(crate) fn init(_: &Flags, _: &Terminal) -> anyhow::Result<()> {
    Ok(crate::built::require(&[crate::built::Feature::Train])?)
}
