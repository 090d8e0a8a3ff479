//! `fixfly train blank`: where a student that is trained from nothing begins.

use std::path::PathBuf;

use clap::Args;

use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly run faults --policy null --turns 0 --split train -o runs/tasks
  fixfly dataset build --recipe originals runs/tasks -o datasets/text
  fixfly train blank --dataset datasets/text -o models/tiny
  fixfly dataset build --recipe originals runs/tasks --write tokens --tokenizer models/tiny/tokenizer.json -o datasets/tiny
  fixfly train full --base models/tiny --dataset datasets/tiny -o students/tiny --lr 2e-3

A model folder of Hugging Face: Qwen3's architecture and chat template, random
weights, and a byte-level tokenizer learned from the dataset's messages.")]
pub(super) struct Flags {
    /// Dataset folder whose text the tokenizer is learned from
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,

    /// Model folder to write
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Numbers of a token between layers
    #[arg(long, value_name = "N", default_value_t = 256)]
    width: usize,

    /// Layers
    #[arg(long, value_name = "N", default_value_t = 4)]
    layers: usize,

    /// Heads of queries
    #[arg(long, value_name = "N", default_value_t = 8)]
    heads: usize,

    /// Heads of keys and values
    #[arg(long, value_name = "N", default_value_t = 4)]
    kept_heads: usize,

    /// Numbers of a token inside a layer
    #[arg(long, value_name = "N", default_value_t = 768)]
    inner: usize,

    /// Tokens at most
    #[arg(long, value_name = "N", default_value_t = 1024)]
    vocabulary: usize,

    /// The longest text, in tokens
    #[arg(long, value_name = "N", default_value_t = 2048)]
    context: usize,

    /// The base of rotary positions; for short texts a smaller one tells near tokens
    /// apart better
    #[arg(long, value_name = "X", default_value_t = 10000.0)]
    rope_theta: f64,

    /// What weights are drawn from
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
}

#[cfg(feature = "train")]
pub(super) fn blank(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    use fixfly_train::Dataset;
    use fixfly_train::student::{ModelConfig, RandomInit};

    let rows = Dataset::open(&flags.dataset)?.rows()?.collect::<Result<Vec<_>, _>>()?;
    let texts = rows.into_iter().flat_map(|row| row.messages).map(|message| message.content);
    let blank = RandomInit {
        width: flags.width,
        layers: flags.layers,
        heads: flags.heads,
        kept_heads: flags.kept_heads,
        inner: flags.inner,
        vocabulary: flags.vocabulary,
        context: flags.context,
        theta: flags.rope_theta,
        seed: flags.seed,
    };
    blank.write(texts, &flags.output)?;
    let tokens = ModelConfig::open(&flags.output)?.vocabulary;
    terminal.say(&format!("{}: random weights, {tokens} tokens", flags.output.display()));
    Ok(())
}

#[cfg(not(feature = "train"))]
pub(super) fn blank(_: &Flags, _: &Terminal) -> anyhow::Result<()> {
    Err(super::without().into())
}
