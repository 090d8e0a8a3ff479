//! `fixfly train`: a dataset becomes a student.

mod blank;
mod hyper;
pub(crate) mod interrupt;
mod llamafactory;
#[cfg(feature = "train")]
mod native;
mod progress;
#[cfg(feature = "train")]
mod repairs;

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use fixfly_train::student::{checkpoints, choose};
use fixfly_train::{Method, Precision};
use serde::de::value::{Error, StringDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};

#[cfg(not(feature = "train"))]
use crate::failure::Usage;
use crate::terminal::Terminal;
use hyper::Hyper;

#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a model to be trained from nothing (needs a build with --features train)
    RandomInit(blank::Flags),
    /// Train an adapter beside a model's weights (needs a build with --features train)
    Lora(Box<Native>),
    /// Train all weights of a model (needs a build with --features train)
    Full(Box<Native>),
    /// Let LLaMA-Factory train: write what it needs, run it, take up what it leaves
    Llamafactory(Box<llamafactory::Flags>),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly train lora --base models/Qwen3-8B --dataset datasets/v4 -o students/v4 --dry-run
  fixfly train lora --base models/Qwen3-8B --dataset datasets/v4 -o students/v4
  fixfly train lora --base models/Qwen3-8B --dataset datasets/v4 -o students/r64 --rank 64 --target all
  fixfly train lora --base models/Qwen3-8B --dataset datasets/v4 -o students/v4 --repairs fifty.toml
  fixfly train full --base models/Qwen3-0.6B --dataset datasets/v4 -o students/full --epochs 3

Ctrl-C saves and stops; the same command goes on. docs/training.md has more.")]
struct Native {
    /// Model folder of Hugging Face: config.json, safetensors, tokenizer.json
    #[arg(long, value_name = "DIR")]
    base: PathBuf,

    /// Dataset folder with tokens/ in it
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,

    /// Where the student is kept; one whose training was stopped goes on
    #[arg(short, long, value_name = "STUDENT")]
    output: PathBuf,

    /// Also try each checkpoint on validation tasks, and choose by what it repairs: a TOML
    /// file of flags of fixfly run, as `benchmark = "django"` and `limit = 50`
    #[arg(long, value_name = "FILE")]
    repairs: Option<PathBuf>,

    /// Say what it will take, show samples, and stop
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    hyper: Hyper,

    /// Tokens that go through the model together; changes memory and speed, not results
    #[arg(long, value_name = "N", default_value_t = 4096, help_heading = "Memory and speed")]
    pass_tokens: usize,

    /// Queries of an attention at a time
    #[arg(long, value_name = "N", default_value_t = 256, help_heading = "Memory and speed",
          value_parser = clap::value_parser!(u32).range(1..))]
    chunk: u32,

    /// Layers that keep what they computed instead of computing it again
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Memory and speed")]
    kept_layers: usize,

    /// Memory there is, as 40GB; else what this machine, or its GPU, has free
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Memory and speed")]
    memory: Option<u64>,

    /// The GPU to use, by number; several as 0,1 share each step (needs a build with --features train-cuda)
    #[arg(long, value_name = "N", value_delimiter = ',', help_heading = "Memory and speed")]
    gpu: Vec<usize>,

    /// Numbers to compute with; what is learned is f32 always [default: f32, on a GPU bf16]
    #[arg(long, value_name = "NUMBERS", value_parser = named::<Precision>(NUMBERS), help_heading = "Memory and speed")]
    precision: Option<Precision>,
}

const NUMBERS: &[&str] = &["f32", "bf16"];

/// What a flag names in the words that files have for it, of which `names` are all.
fn named<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    names: &'static [&'static str],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names).try_map(|name| {
        let name: StringDeserializer<Error> = name.into_deserializer();
        T::deserialize(name)
    })
}

fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let times = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "G" | "GB" => 1e9,
        "GIB" => f64::from(1 << 30),
        "M" | "MB" => 1e6,
        "MIB" => f64::from(1 << 20),
        _ => return Err("it must be a size, as 40GB or 512MB".into()),
    };
    let number = digits.parse::<f64>().ok().filter(|number| *number > 0.0);
    number.map(|number| (number * times) as u64).ok_or_else(|| "it must be a size, as 40GB".into())
}

pub(crate) fn train(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    match &flags.command {
        Command::RandomInit(flags) => blank::blank(flags, terminal),
        Command::Lora(flags) => here(flags, Method::Lora, terminal),
        Command::Full(flags) => here(flags, Method::Full, terminal),
        Command::Llamafactory(flags) => llamafactory::train(flags, terminal),
    }
}

#[cfg(feature = "train")]
fn here(flags: &Native, method: Method, terminal: &Terminal) -> anyhow::Result<()> {
    native::train(flags, method, terminal)
}

#[cfg(not(feature = "train"))]
fn here(flags: &Native, method: Method, _: &Terminal) -> anyhow::Result<()> {
    flags.hyper.settings(method)?;
    Err(without().into())
}

/// The words of a command that this build lacks.
#[cfg(not(feature = "train"))]
#[derive(Debug, Args)]
pub(crate) struct Absent {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

#[cfg(not(feature = "train"))]
pub(crate) fn without() -> Usage {
    Usage("this fixfly was built without training: build it with `cargo build --release --features train`, or let LLaMA-Factory train by `fixfly train llamafactory`".into())
}

/// The checkpoints, the one to take, and what to do with it.
fn after(output: &Path, base: &Path, method: Method) -> anyhow::Result<String> {
    let all = checkpoints(output)?;
    let chosen = choose(&all).map(|checkpoint| checkpoint.facts.step);
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let tried = all.iter().any(|checkpoint| checkpoint.repairs.is_some());
    let repairs = if tried { "repairs" } else { "" };
    table.set_header(["epoch", "step", "loss", "validation", repairs, ""]);
    let number = |loss: Option<f64>| loss.map_or_else(|| "-".into(), |loss| format!("{loss:.4}"));
    for checkpoint in &all {
        let facts = &checkpoint.facts;
        let epoch = facts.epoch.map_or_else(|| "-".into(), |epoch| epoch.to_string());
        let mark = if Some(facts.step) == chosen { "<- chosen" } else { "" };
        let (loss, validation) = (number(facts.loss), number(facts.validation));
        let repairs = checkpoint.repairs.map(|one| format!("{} of {}", one.solved, one.of));
        let repairs = repairs.unwrap_or_default();
        table.add_row([epoch, facts.step.to_string(), loss, validation, repairs, mark.into()]);
    }
    let (output, base) = (output.display(), base.display());
    let next = match method {
        Method::Lora => format!(
            "fixfly export gguf {base} -o base.gguf\nfixfly export gguf {output} -o student.gguf\n\
             fixfly run django --policy llama --model base.gguf --lora student.gguf -o runs/student"
        ),
        Method::Full => format!(
            "fixfly export gguf {output} -o student.gguf\n\
             fixfly run django --policy llama --model student.gguf -o runs/student"
        ),
    };
    Ok(format!("{table}\n\nNext:\n{next}\n"))
}
