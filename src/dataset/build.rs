//! `fixfly dataset build`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use fixfly_runtime::{Recording, RunRecord, Templates, ThinkingSwitch, read_run};
use fixfly_train::{
    Build, DatasetError, Format, Loss, RECIPES, Reader, Recipe, Run, Tokens, Traces,
};
use serde_json::Value;

use super::known::{benchmark, known, original};
use super::look;
use crate::failure::Usage;
use crate::run::choices;
use crate::terminal::{Terminal, print};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly dataset build --recipe v1 runs/gpt-4.1 runs/qwen3-32b -o datasets/v1
  fixfly dataset build --recipe v4 gpt-4.1=runs/retrieval gpt-4.1-nano=runs/one-turn -o datasets/v4
  fixfly dataset build --recipe v5 --write sharegpt,openai,trl --tokenizer tokenizer.json runs/* -o datasets/v5
  fixfly dataset build --recipe v4 --write tokens --tokenizer qwen3/tokenizer.json runs/* -o datasets/v4
  fixfly dataset build --recipe v4-reasoning --traces traces.jsonl runs/* -o datasets/v4-reasoning
  fixfly dataset recipe v4 > mine.toml

The same input gives the same bytes. Rows that are too long or that leak are
dropped and counted, never cut; the dataset's README.md says all of it.")]
pub(crate) struct Flags {
    /// Run directories; TEACHER=RUN takes a run for that teacher of the recipe
    #[arg(required = true, value_name = "[TEACHER=]RUN")]
    runs: Vec<String>,

    /// Folder to write
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    #[arg(long, value_name = "NAME|FILE", help = choices("Recipe, or a TOML file of your own", RECIPES))]
    recipe: String,

    /// Forms to write, beside fixfly's own rows
    #[arg(
        long,
        alias = "format",
        value_name = "FORM",
        value_delimiter = ',',
        default_value = "sharegpt"
    )]
    write: Vec<Form>,

    /// Which messages of the model carry loss; the recipe's if not given
    #[arg(long)]
    loss: Option<LossName>,

    /// The student's tokenizer.json; tokens are estimated if not given
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    /// The student's chat template, for --write tokens: one that comes with
    /// fixfly (qwen3), a Jinja file or a tokenizer_config.json; the one beside
    /// the tokenizer if not given
    #[arg(long, value_name = "NAME|FILE")]
    chat_template: Option<String>,

    /// How the student is told to reason or not, for --write tokens; by its
    /// chat template, where that can, if not given
    #[arg(long, value_name = "HOW")]
    thinking_switch: Option<Switch>,

    /// Reasoning for rows, a JSON line each: {"row": ID, "reasoning": TEXT}
    #[arg(long, value_name = "FILE")]
    traces: Option<PathBuf>,

    /// Folder with the student's system.jinja, first.jinja or later.jinja; the
    /// wording of the runs if not given
    #[arg(long, value_name = "DIR")]
    prompts: Option<PathBuf>,

    /// Take methods of the benchmark's own split out of the files in prompts
    #[arg(long)]
    mask_benchmark_methods: bool,

    /// Tokens of a row at most, longer ones are dropped; the recipe's if not given
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,

    /// Share of rows that may be dropped, 0 to 1; the recipe's if not given
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_dropped: Option<f64>,

    /// Folder of the benchmark, if it is not where the runs found it
    #[arg(long, value_name = "DIR")]
    benchmark_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For LLaMA-Factory, with a complete dataset_info.json
    Sharegpt,
    /// OpenAI's chats, a `weight` at each message of the model
    Openai,
    /// For TRL's SFTTrainer
    Trl,
    /// Tokens and their mask, for `fixfly train`; needs --tokenizer
    Tokens,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Switch {
    /// It is not told
    None,
    /// By /think or /no_think after the first user message
    Prompt,
    /// By the variable `enable_thinking` of its chat template
    Template,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LossName {
    /// Every one, failing attempts too
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
    recipe.limits.tokens = flags.max_tokens.or(recipe.limits.tokens);
    recipe.limits.dropped = flags.max_dropped.unwrap_or(recipe.limits.dropped);
    let runs = flags.runs.iter().map(|name| run(name, &recipe)).collect::<Result<Vec<_>, _>>()?;
    let templates = wording(flags, &runs)?;
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
        formats: forms(&flags.write),
    };
    let summary = build.write(&flags.output)?;
    terminal.say(&format!("dataset: {}", flags.output.display()));
    print(&look::tables(&summary))
}

/// How the student reads a row, where its tokens are to be written.
fn student(flags: &Flags) -> anyhow::Result<Option<Reader>> {
    if !flags.write.contains(&Form::Tokens) {
        return match flags.chat_template.is_some() || flags.thinking_switch.is_some() {
            true => {
                Err(Usage("--chat-template and --thinking-switch are for --write tokens".into())
                    .into())
            }
            false => Ok(None),
        };
    }
    let Some(tokenizer) = &flags.tokenizer else {
        let why =
            "--write tokens needs the student's tokenizer: name its tokenizer.json by --tokenizer";
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

/// A run, and whom the recipe takes it for: as the user says, else by the names
/// that the run knows itself by.
fn run(named: &str, recipe: &Recipe) -> anyhow::Result<Run> {
    let (teacher, folder) = match named.split_once('=') {
        Some((teacher, folder)) if !Path::new(named).exists() => (Some(teacher), folder),
        _ => (None, named),
    };
    let path = Path::new(folder);
    let record = read_run(path)?;
    let names = teacher.map_or_else(|| names(&record), |teacher| vec![teacher.to_string()]);
    let Some(teacher) = recipe.teacher(&names) else {
        let teachers: Vec<_> = recipe.teachers.iter().map(|teacher| &*teacher.name).collect();
        let of = names.first().map_or("nobody", String::as_str);
        return Err(Usage(format!(
            "the recipe takes nothing of {of}, whose run {folder} is; its teachers are {}: \
             say whom the run stands for, as in {}={folder}",
            teachers.join(", "),
            teachers[0],
        ))
        .into());
    };
    let recording = Recording::open(path).with_context(|| format!("cannot read {folder}"))?;
    Ok(Run { name: folder.into(), teacher: teacher.name.clone(), record, recording })
}

/// The model, the profile and the policy of a run, as far as it has them.
fn names(record: &RunRecord) -> Vec<String> {
    let model = record.config.get("model");
    let policy = record.config.get("policy");
    let names = [
        model.and_then(|model| model.get("model")),
        model.and_then(|model| model.pointer("/teacher/profile")),
        policy,
    ];
    names.into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
}

/// The wording that the student will be spoken to in.
fn wording(flags: &Flags, runs: &[Run]) -> Result<Templates, DatasetError> {
    if flags.prompts.is_some() {
        return Ok(Templates::load(flags.prompts.as_deref())?);
    }
    let first = &runs[0];
    if let Some(other) =
        runs.iter().find(|run| run.record.templates.hash != first.record.templates.hash)
    {
        return Err(DatasetError::Runs(format!(
            "{} and {} are worded differently: name the student's wording by --prompts",
            first.name, other.name
        )));
    }
    Ok(Templates::recorded(&first.record.templates.texts)?)
}
