//! `fixfly dataset build`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fixfly_datasets::{
    Build, Format, Loss, RECIPES, Reader, Recipe, Run, Tokens, Traces, summary_text, templates_in,
    templates_of,
};
use fixfly_runtime::ThinkingSwitch;

use super::known::{benchmark, known, original, usage};
use crate::failure::Usage;
use crate::flags::choices;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly dataset build --recipe v1 runs/gpt-4.1 runs/qwen3-32b -o datasets/v1
  fixfly dataset build --recipe v4 gpt-4.1=runs/retrieval gpt-4.1-nano=runs/one-turn -o datasets/v4
  fixfly dataset build --recipe v5 --format sharegpt,openai,trl --tokenizer tokenizer.json runs/* -o datasets/v5
  fixfly dataset build --recipe v4 --format tokens --tokenizer qwen3/tokenizer.json runs/* -o datasets/v4
  fixfly dataset build --recipe v4-reasoning --traces traces.jsonl runs/* -o datasets/v4-reasoning
  fixfly dataset build --recipe repairs-and-originals --max-total-tokens 200000 runs/* -o datasets/mine
  fixfly dataset recipe v4 > mine.toml

The same input gives the same bytes. Rows that are too long or that leak are
dropped and counted, never cut; the dataset's README.md lists the counts.")]
pub(crate) struct Flags {
    /// Run directories; TEACHER=RUN assigns a run to that teacher of the recipe
    #[arg(required = true, value_name = "[TEACHER=]RUN")]
    runs: Vec<String>,

    /// Output folder
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    #[arg(long, value_name = "NAME|FILE", help = choices("Recipe, or a TOML file of your own", RECIPES))]
    recipe: String,

    /// Formats to write, in addition to fixfly's own rows
    #[arg(long, value_name = "FORMAT", value_delimiter = ',', default_value = "sharegpt")]
    format: Vec<Form>,

    /// Messages of the model that carry loss [default: the recipe's]
    #[arg(long)]
    loss: Option<LossName>,

    /// The student's tokenizer.json or GGUF file [default: estimate token counts]
    #[arg(long, value_name = "FILE", value_parser = crate::model::file)]
    tokenizer: Option<PathBuf>,

    /// The student's chat template, for --format tokens: a built-in one (qwen3), a Jinja
    /// file, a tokenizer_config.json or a GGUF file [default: the tokenizer's]
    #[arg(long, value_name = "NAME|FILE")]
    chat_template: Option<String>,

    /// How reasoning is turned on or off, for --format tokens [default: by the chat
    /// template, if it supports that]
    #[arg(long, value_name = "HOW", hide_short_help = true)]
    thinking_switch: Option<Switch>,

    /// File of reasoning traces, one JSON object per line: {"row": ID, "reasoning": TEXT}
    #[arg(long, value_name = "FILE")]
    traces: Option<PathBuf>,

    /// Folder with the student's system.jinja, first.jinja or later.jinja [default:
    /// the prompts of the runs]
    #[arg(long, value_name = "DIR")]
    prompts: Option<PathBuf>,

    /// Remove methods of the benchmark split from the files in prompts
    #[arg(long, hide_short_help = true)]
    mask_benchmark_methods: bool,

    /// Maximum length of a row, in tokens; longer rows are dropped [default: the recipe's]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,

    /// Maximum tokens of all rows together, so that datasets can be compared at equal tokens;
    /// the rows are the first in the dataset's order
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_total_tokens: Option<u64>,

    /// Maximum number of rows of a teacher, drawn by the recipe's seed; may be repeated
    #[arg(long, value_name = "TEACHER=N", value_delimiter = ',')]
    max_rows: Vec<String>,

    /// Maximum share of dropped rows, 0 to 1 [default: the recipe's]
    #[arg(long, value_name = "SHARE", value_parser = share, hide_short_help = true)]
    max_dropped: Option<f64>,

    /// Folder of the benchmark [default: the one recorded in the runs]
    #[arg(long, value_name = "DIR")]
    benchmark_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For LLaMA-Factory, with a dataset_info.json
    Sharegpt,
    /// OpenAI's chat format, with a `weight` for each message of the model
    Openai,
    /// For TRL's SFTTrainer
    Trl,
    /// Tokens with a loss mask, for `fixfly train`; needs --tokenizer
    Tokens,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    /// No switch
    None,
    /// /think or /no_think after the first user message
    Prompt,
    /// The variable `enable_thinking` of the chat template
    Template,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LossName {
    /// Every message, including failing attempts
    All,
    /// The answer
    Last,
    /// The answer, and each attempt that fixed a test and broke none
    PerMessage,
}

fn share(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "it must be a share from 0 to 1".into())
}

pub(crate) fn build(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let (mut recipe, recipe_text) = Recipe::open(&flags.recipe)?;
    if let Some(loss) = flags.loss {
        recipe.loss = match loss {
            LossName::All => Loss::All,
            LossName::Last => Loss::Last,
            LossName::PerMessage => Loss::PerMessage,
        };
    }
    recipe.limits.tokens = flags.max_length.or(recipe.limits.tokens);
    recipe.limits.total_tokens =
        flags.max_total_tokens.map(|most| most as usize).or(recipe.limits.total_tokens);
    for limit in &flags.max_rows {
        recipe.limit_rows(limit).map_err(usage)?;
    }
    recipe.limits.dropped = flags.max_dropped.unwrap_or(recipe.limits.dropped);
    let runs = Run::open_all(&flags.runs, &recipe).map_err(usage)?;
    let templates = match &flags.prompts {
        Some(prompts) => templates_in(&runs, prompts)?,
        None => templates_of(&runs)?,
    };
    let benchmark = benchmark(&runs, flags.benchmark_dir.as_deref())?;
    let original = |task: &_| original(&*benchmark, task);
    let build = Build {
        recipe_name: flags.recipe.clone(),
        recipe_text,
        recipe,
        runs,
        templates: &templates,
        known: known(&*benchmark, &original)?,
        tokens: Tokens::open(flags.tokenizer.as_deref())?,
        student: student(flags)?,
        traces: flags.traces.as_deref().map(Traces::open).transpose()?.unwrap_or_default(),
        mask: flags.mask_benchmark_methods,
        formats: forms(&flags.format),
    };
    let summary = build.write(&flags.output)?;
    terminal.status(&format!("dataset: {}", flags.output.display()));
    terminal.print(&summary_text(&summary))
}

/// The reader of the student's tokens, for `--format tokens`.
fn student(flags: &Flags) -> anyhow::Result<Option<Reader>> {
    if !flags.format.contains(&Form::Tokens) {
        return match flags.chat_template.is_some() || flags.thinking_switch.is_some() {
            true => {
                Err(Usage("--chat-template and --thinking-switch need --format tokens".into())
                    .into())
            }
            false => Ok(None),
        };
    }
    let Some(tokenizer) = &flags.tokenizer else {
        let why = "--format tokens needs the student's tokenizer: name its tokenizer.json or its GGUF file with --tokenizer";
        return Err(Usage(why.into()).into());
    };
    let switch = flags.thinking_switch.map(|switch| match switch {
        Switch::None => ThinkingSwitch::None,
        Switch::Prompt => ThinkingSwitch::Prompt,
        Switch::Template => ThinkingSwitch::Template,
    });
    Ok(Some(Reader::open(tokenizer, flags.chat_template.as_deref(), switch)?))
}

fn forms(asked: &[Form]) -> Vec<Format> {
    let format = |form: Form| match form {
        Form::Sharegpt => Format::Sharegpt,
        Form::Openai => Format::Openai,
        Form::Trl => Format::Trl,
        Form::Tokens => Format::Tokens,
    };
    let asked: Vec<Format> = asked.iter().map(|form| format(*form)).collect();
    Format::ALL.into_iter().filter(|format| asked.contains(format)).collect()
}
