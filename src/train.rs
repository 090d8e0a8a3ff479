//! `fixfly train`: trains a student on a dataset.

#[cfg(feature = "train")]
mod eval;
mod hyper;
mod init;
pub(crate) mod interrupt;
mod llamafactory;
#[cfg(feature = "train")]
mod native;
mod progress;

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use fixfly_runtime::parse_bytes;
use fixfly_students::{BaseDtype, MatmulPrecision, Method, Precision, checkpoints, choose};
use serde::de::value::{Error, StringDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};

use crate::built::{Feature, require};
use crate::terminal::Terminal;
use hyper::Hyper;
pub(crate) use init::{Flags as InitFlags, init};

#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a randomly initialised model for pretraining (needs a build with --features train)
    Init(init::Flags),
    /// Train a LoRA adapter (needs a build with --features train)
    Lora(Box<Native>),
    /// Train all weights of a model (needs a build with --features train)
    Full(Box<Native>),
    /// Train with LLaMA-Factory: write its files, run it and collect its checkpoints
    Llamafactory(Box<llamafactory::Flags>),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly train lora --base models/Qwen3-8B --dataset datasets/v4 -o students/v4 --dry-run
  fixfly train lora --base models/Qwen3-8B --dataset datasets/v4 -o students/v4
  fixfly train lora --base models/Qwen3-8B --dataset datasets/v4 -o students/r64 --rank 64 --target all
  fixfly train lora --base models/Qwen3-8B --dataset datasets/v4 -o students/v4 --eval fifty.toml
  fixfly train lora --base models/smollm2.Q4_1.gguf --dataset datasets/v4 -o students/smollm2
  fixfly train full --base models/Qwen3-0.6B --dataset datasets/v4 -o students/full --epochs 3

Ctrl-C saves a checkpoint and stops; run the same command again to resume. See docs/training.md.")]
pub(crate) struct Native {
    /// Hugging Face model folder (config.json, safetensors, tokenizer.json), or a GGUF file
    #[arg(long, value_name = "MODEL", value_parser = crate::model::file)]
    base: PathBuf,

    /// Dataset folder that contains tokens/
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,

    /// Output folder; an interrupted training resumes from it
    #[arg(short, long, value_name = "STUDENT")]
    output: PathBuf,

    /// Evaluate each checkpoint on validation tasks and choose the one that solves most: a
    /// TOML file of flags of fixfly run, such as `benchmark = "django"` and `limit = 50`
    #[arg(long, value_name = "FILE")]
    eval: Option<PathBuf>,

    /// Print the estimated cost and some samples, then exit
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    hyper: Hyper,

    /// Tokens per micro-batch; affects memory and speed, not results
    #[arg(long, value_name = "N", default_value_t = 4096, help_heading = "Memory and speed")]
    micro_batch_tokens: usize,

    /// Queries per chunk of attention; affects memory and speed, not results
    #[arg(long, value_name = "N", default_value_t = 256, help_heading = "Memory and speed",
          value_parser = clap::value_parser!(u32).range(1..))]
    attention_chunk: u32,

    /// Layers whose activations are not recomputed [default: as many as half of the free memory holds]
    #[arg(long, value_name = "N", help_heading = "Memory and speed")]
    no_recompute_layers: Option<usize>,

    /// Memory limit, such as 40GB [default: the free memory of this machine or its GPU]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = "Memory and speed")]
    max_memory: Option<u64>,

    /// Index of the GPU to use; several, such as 0,1, share each step (needs a build with --features train-cuda)
    #[arg(long, value_name = "N", value_delimiter = ',', help_heading = "Memory and speed")]
    gpu: Vec<usize>,

    /// Dtype of computation; trained parameters are always f32 [default: f32, on a GPU bf16]
    #[arg(long, value_name = "DTYPE", value_parser = named::<Precision>(DTYPES), help_heading = "Memory and speed")]
    dtype: Option<Precision>,

    /// How frozen weights are held: in the dtype of computation (f32), rounded to bf16, or as
    /// a GGUF file stores them [default: a GGUF file's quantized, others f32]
    #[arg(long, value_name = "DTYPE", value_parser = named::<BaseDtype>(BASE_DTYPES), help_heading = "Memory and speed")]
    base_dtype: Option<BaseDtype>,

    /// How exact products with frozen f32 weights are: medium rounds their factors to bf16, which
    /// is faster on processors with AMX and has no effect on others
    #[arg(long, value_name = "PRECISION", default_value = "highest", value_parser = named::<MatmulPrecision>(MATMUL_PRECISIONS), help_heading = "Memory and speed")]
    float32_matmul_precision: MatmulPrecision,
}

const DTYPES: &[&str] = &["f32", "bf16"];
const MATMUL_PRECISIONS: &[&str] = &["highest", "medium"];
const BASE_DTYPES: &[&str] = &["f32", "bf16", "quantized"];

/// A parser of the values that `T` has in files; `names` are all of them.
fn named<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    names: &'static [&'static str],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names).try_map(|name| {
        let name: StringDeserializer<Error> = name.into_deserializer();
        T::deserialize(name)
    })
}

pub(crate) fn train(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    match &flags.command {
        Command::Init(flags) => init::init(flags, terminal),
        Command::Lora(flags) => here(flags, Method::Lora, terminal),
        Command::Full(flags) => here(flags, Method::Full, terminal),
        Command::Llamafactory(flags) => llamafactory::train(flags, terminal),
    }
}

#[cfg(feature = "train")]
pub(crate) fn here(flags: &Native, method: Method, terminal: &Terminal) -> anyhow::Result<()> {
    require(&[Feature::Train])?;
    native::train(flags, method, terminal)
}

#[cfg(not(feature = "train"))]
pub(crate) fn here(flags: &Native, method: Method, _: &Terminal) -> anyhow::Result<()> {
    flags.hyper.settings(method)?;
    Ok(require(&[Feature::Train])?)
}

/// The arguments of a command that this build does not include.
#[cfg(not(feature = "train"))]
#[derive(Debug, Args)]
pub(crate) struct Absent {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

/// A table of checkpoints, with the chosen one, and the next commands.
fn after(output: &Path, base: &Path, method: Method) -> anyhow::Result<String> {
    let all = checkpoints(output)?;
    let chosen = choose(&all).map(|checkpoint| checkpoint.facts.step);
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let evaluated = all.iter().any(|checkpoint| checkpoint.eval.is_some());
    let solved = if evaluated { "solved" } else { "" };
    table.set_header(["epoch", "step", "loss", "validation", solved, ""]);
    let number = |loss: Option<f64>| loss.map_or_else(|| "-".into(), |loss| format!("{loss:.4}"));
    for checkpoint in &all {
        let facts = &checkpoint.facts;
        let epoch = facts.epoch.map_or_else(|| "-".into(), |epoch| epoch.to_string());
        let mark = if Some(facts.step) == chosen { "<- chosen" } else { "" };
        let (loss, validation) = (number(facts.loss), number(facts.validation));
        let solved = checkpoint.eval.map(|one| format!("{} of {}", one.solved, one.of));
        let solved = solved.unwrap_or_default();
        table.add_row([epoch, facts.step.to_string(), loss, validation, solved, mark.into()]);
    }
    // An adapter is served on the GGUF file that it was trained on.
    let served = fixfly_runtime::GgufHeader::is_gguf(base);
    let (output, base) = (output.display(), base.display());
    let next = match method {
        Method::Lora if served => format!(
            "fixfly export gguf {output} -o student.gguf\n\
             fixfly run django --policy llama --model {base} --lora student.gguf -o runs/student"
        ),
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
