//! Flags of policies that ask a model.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, value_parser};
use fixfly_policies::{CallForm, KvType, Lora, Settings, Student, Teacher};
use fixfly_runtime::{Sampling, Thinking, ThinkingMode, ThinkingSwitch};

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "For policies that ask a model")]
#[group(skip)]
pub(crate) struct Flags {
    /// Model: a name that the server knows, or a GGUF file
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,

    /// Sampling temperature; 0 takes the likeliest token [default: 0.6]
    #[arg(long, value_parser = temperature)]
    temperature: Option<f64>,

    /// Smallest set of tokens whose probabilities sum to this
    #[arg(long, value_name = "P", value_parser = share)]
    top_p: Option<f64>,

    /// Number of likeliest tokens considered
    #[arg(long, value_name = "K", value_parser = value_parser!(u32).range(1..))]
    top_k: Option<u32>,

    /// Tokens of one generation at most, reasoning included [default: 10000]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,

    /// Whether the model reasons before it answers; as it does of itself if not given
    #[arg(long, value_name = "yes|no")]
    think: Option<YesNo>,

    /// How the model is told to reason or not [default: the profile's, else template]
    #[arg(long, value_name = "HOW", requires = "think")]
    think_by: Option<ThinkBy>,

    /// How the model calls tools: in its words, or by the server's tool calls
    #[arg(long, value_name = "FORM", default_value = "text")]
    tool_calls: Calls,

    /// US dollars the run may cost; it stops before it would cost more
    #[arg(long, value_name = "USD", value_parser = dollars)]
    budget: Option<f64>,

    /// US dollars one episode may cost
    #[arg(long, value_name = "USD", value_parser = dollars)]
    episode_budget: Option<f64>,

    /// What is known of a teacher: a name that comes with fixfly, or a TOML file
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,

    /// Where the server is, up to and including `/v1`
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,

    /// Environment variable that holds the server's key [default: OPENAI_API_KEY]
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,

    /// Whether tokens are asked for as they come [default: the profile's, else yes]
    #[arg(long, value_name = "yes|no")]
    stream: Option<YesNo>,

    /// Folder of answers that were paid for, shared by runs; the run's own if not given
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,

    /// Adapter to add to a GGUF model, and what to multiply its change by
    #[arg(long, value_name = "FILE[=SCALE]", value_parser = lora)]
    lora: Vec<Lora>,

    /// Layers on the GPU; all that fit if not given
    #[arg(long, value_name = "N")]
    gpu_layers: Option<u32>,

    /// Tokens of an episode at most; the model's window if not given
    #[arg(long, value_name = "TOKENS", value_parser = value_parser!(u32).range(1..))]
    context: Option<u32>,

    /// Threads for a GGUF model; as many as there are processors if not given
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    threads: Option<u32>,

    /// Numbers a GGUF model's cache is kept in
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    kv_type: Kv,

    /// Jinja file to use in place of a GGUF model's own chat template
    #[arg(long, value_name = "FILE")]
    chat_template: Option<PathBuf>,

    /// Record token ids and log-probabilities of a GGUF model's words
    #[arg(long)]
    record_tokens: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum YesNo {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ThinkBy {
    /// `/think` or `/no_think` after the first user message
    Prompt,
    /// `enable_thinking` of the chat template
    Template,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Calls {
    #[default]
    Text,
    Native,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Kv {
    F32,
    #[default]
    F16,
    #[value(name = "q8_0")]
    Q8_0,
    #[value(name = "q4_0")]
    Q4_0,
}

impl Flags {
    /// What they say, for a run in this directory.
    pub(crate) fn settings(&self, run: &Path, episodes: usize) -> Settings {
        Settings {
            model: self.model.clone(),
            sampling: Sampling {
                temperature: self.temperature,
                top_p: self.top_p,
                top_k: self.top_k,
                max_tokens: self.max_tokens,
                seed: None,
            },
            thinking: self.thinking(),
            calls: match self.tool_calls {
                Calls::Text => CallForm::Text,
                Calls::Native => CallForm::Native,
            },
            teacher: Teacher {
                profile: self.profile.clone(),
                base_url: self.base_url.clone(),
                api_key_env: self.api_key_env.clone(),
                stream: self.stream.map(|stream| matches!(stream, YesNo::Yes)),
                budget_usd: self.budget,
                episode_budget_usd: self.episode_budget,
                run: run.to_path_buf(),
                journal: self.cache.clone().unwrap_or_else(|| run.join("journal")),
            },
            student: Student {
                loras: self.lora.clone(),
                gpu_layers: self.gpu_layers,
                context: self.context,
                threads: self.threads,
                kv_type: match self.kv_type {
                    Kv::F32 => KvType::F32,
                    Kv::F16 => KvType::F16,
                    Kv::Q8_0 => KvType::Q8_0,
                    Kv::Q4_0 => KvType::Q4_0,
                },
                chat_template: self.chat_template.clone(),
                record_tokens: self.record_tokens,
                episodes,
            },
        }
    }

    /// Whether any was given.
    pub(crate) fn given(&self) -> bool {
        let nowhere = Path::new("");
        self.settings(nowhere, 0) != Flags::default().settings(nowhere, 0)
    }

    /// Whether tools are called in words.
    pub(super) fn calls_in_words(&self) -> bool {
        matches!(self.tool_calls, Calls::Text)
    }

    /// What one episode may cost.
    pub(crate) fn episode_budget(&self) -> Option<f64> {
        self.episode_budget
    }

    fn thinking(&self) -> Thinking {
        let mode = match self.think {
            None => ThinkingMode::Unsaid,
            Some(YesNo::Yes) => ThinkingMode::Think,
            Some(YesNo::No) => ThinkingMode::NoThink,
        };
        let told_by = self.think_by.map(|by| match by {
            ThinkBy::Prompt => ThinkingSwitch::Prompt,
            ThinkBy::Template => ThinkingSwitch::Template,
        });
        Thinking { mode, told_by: told_by.unwrap_or_default() }
    }
}

fn temperature(text: &str) -> Result<f64, String> {
    number(text, "a temperature from 0 to 2", |value| (0.0..=2.0).contains(&value))
}

fn share(text: &str) -> Result<f64, String> {
    number(text, "a share above 0, at most 1", |value| value > 0.0 && value <= 1.0)
}

fn dollars(text: &str) -> Result<f64, String> {
    number(text, "an amount of dollars above 0", |value| value > 0.0 && value.is_finite())
}

fn number(text: &str, what: &str, holds: fn(f64) -> bool) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| holds(*value));
    value.ok_or_else(|| format!("it must be {what}"))
}

fn lora(text: &str) -> Result<Lora, String> {
    let (file, scale) = match text.rsplit_once('=') {
        Some((file, scale)) => {
            let scale = scale.parse().ok().filter(|scale: &f32| scale.is_finite());
            (file, scale.ok_or("what stands after `=` must be a number")?)
        }
        None => (text, 1.0),
    };
    Ok(Lora { file: file.into(), scale })
}
