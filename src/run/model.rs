//! Flags of policies that use a model.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, value_parser};
use fixfly_policies::Open;
use fixfly_runtime::{
    CallForm, KvType, LocalModel, Lora, RemoteModel, Sampling, Settings, Thinking, ThinkingMode,
    ThinkingSwitch,
};

use crate::failure::Usage;
use crate::flags::named;
use crate::model::file;

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Model options")]
#[group(skip)]
pub(crate) struct Flags {
    /// Model: the server's name for it, or a GGUF file or its name in `fixfly model list`
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,

    /// Sampling temperature; 0 is greedy decoding. Several, such as 0.6,0.8,1, are one for each
    /// turn; the last one repeats [default: 0.6]
    #[arg(long, value_delimiter = ',', value_parser = temperature)]
    temperature: Vec<f64>,

    /// Nucleus sampling: sample from the smallest set of tokens with this total probability
    #[arg(long, value_name = "P", value_parser = share)]
    top_p: Option<f64>,

    /// Sample from the K likeliest tokens
    #[arg(long, value_name = "K", value_parser = value_parser!(u32).range(1..))]
    top_k: Option<u32>,

    /// Maximum number of tokens of one generation, including reasoning [default: 10000]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,

    /// Whether the model reasons before it answers [default: the model's default]
    #[arg(long, value_name = "yes|no")]
    think: Option<YesNo>,

    /// How to switch thinking on or off [default: the profile's, else template]
    #[arg(long, value_name = "HOW", requires = "think")]
    thinking_switch: Option<SwitchKind>,

    /// How the model calls tools: in its text, or through the server's tool-call API
    #[arg(long, value_name = "FORM", default_value = "text")]
    tool_calls: Calls,

    /// Spend limit of the run in US dollars; the run stops before exceeding it
    #[arg(long, value_name = "USD", value_parser = dollars)]
    budget: Option<f64>,

    /// Spend limit of one episode in US dollars
    #[arg(long, value_name = "USD", value_parser = dollars)]
    cost_limit: Option<f64>,

    /// Teacher profile: a built-in name or a TOML file
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,

    /// Base URL of the server, up to and including `/v1`; may be repeated for several servers of
    /// the model
    #[arg(long, value_name = "URL")]
    base_url: Vec<String>,

    /// Environment variable with the server's API key [default: OPENAI_API_KEY]
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,

    /// Whether to stream responses [default: the profile's, else yes]
    #[arg(long, value_name = "yes|no")]
    stream: Option<YesNo>,

    /// Longest wait that the server may ask for, such as 30s, 10m or 2h; a longer one stops
    /// the run [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    max_retry_wait: Option<u64>,

    /// Folder of cached answers, which runs can share [default: in the run directory]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,

    /// LoRA adapter for a GGUF model, optionally scaled; may be repeated
    #[arg(long, value_name = "FILE[=SCALE]", value_parser = lora)]
    lora: Vec<Lora>,

    /// Number of layers to offload to the GPU [default: as many as fit]
    #[arg(long, value_name = "N")]
    gpu_layers: Option<u32>,

    /// Context size of a GGUF model in tokens [default: the model's]
    #[arg(long, value_name = "TOKENS", value_parser = value_parser!(u32).range(1..))]
    ctx_size: Option<u32>,

    /// Number of threads for a GGUF model [default: number of CPUs]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    threads: Option<u32>,

    /// Data type of a GGUF model's key-value cache
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    kv_cache_dtype: Kv,

    /// Jinja file to use instead of a GGUF model's own chat template
    #[arg(long, value_name = "FILE")]
    chat_template: Option<PathBuf>,

    /// Record token ids and log-probabilities of a GGUF model's output
    #[arg(long)]
    record_tokens: bool,

    /// Maximum tokens that a GGUF model drafts from its prompt, or `off` [default: off]
    #[arg(long, value_name = "N|off", value_parser = LocalModel::parse_speculation)]
    speculation: Option<u32>,

    /// Hold a GGUF model's answers to changes of one line of the faulty method, by a grammar
    #[arg(long)]
    answer_grammar: bool,

    /// Sample an answer again that repeats an earlier one of the episode, at most 8 times
    #[arg(long)]
    distinct_answers: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum YesNo {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SwitchKind {
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
    /// The settings for a run of that policy in this directory; none if it uses no model.
    pub(crate) fn of_policy(
        &self,
        policy: &str,
        run: &Path,
        episodes: usize,
    ) -> anyhow::Result<Option<Settings>> {
        let entry = named("policy", fixfly_policies::ALL, policy)?;
        if !matches!(entry.open, Open::Model(_)) {
            return match self.given() {
                true => Err(Usage(format!(
                    "the policy `{policy}` uses no model: remove the flags that --help lists under \"Model options\""
                ))
                .into()),
                false => Ok(None),
            };
        }
        let mut settings = self.settings(run, episodes);
        if policy == "llama"
            && let Some(name) = &mut settings.model
        {
            *name = file(name)?.display().to_string();
        }
        Ok(Some(settings))
    }

    /// The settings for a run in this directory.
    pub(crate) fn settings(&self, run: &Path, episodes: usize) -> Settings {
        Settings {
            model: self.model.clone(),
            sampling: Sampling {
                temperature: self.temperature.first().copied(),
                top_p: self.top_p,
                top_k: self.top_k,
                max_tokens: self.max_tokens,
                seed: None,
            },
            later_temperatures: self.temperature.iter().skip(1).copied().collect(),
            thinking: self.thinking(),
            calls: match self.tool_calls {
                Calls::Text => CallForm::Text,
                Calls::Native => CallForm::Native,
            },
            remote: RemoteModel {
                profile: self.profile.clone(),
                base_url: self.base_url.first().cloned(),
                other_base_urls: self.base_url.iter().skip(1).cloned().collect(),
                api_key_env: self.api_key_env.clone(),
                stream: self.stream.map(|stream| matches!(stream, YesNo::Yes)),
                budget_usd: self.budget,
                episode_budget_usd: self.cost_limit,
                max_retry_wait: self.max_retry_wait,
                shard: None,
                run: run.to_path_buf(),
                journal: self.cache.clone().unwrap_or_else(|| run.join("journal")),
            },
            local: LocalModel {
                loras: self.lora.clone(),
                gpu_layers: self.gpu_layers,
                context_length: self.ctx_size,
                threads: self.threads,
                kv_type: match self.kv_cache_dtype {
                    Kv::F32 => KvType::F32,
                    Kv::F16 => KvType::F16,
                    Kv::Q8_0 => KvType::Q8_0,
                    Kv::Q4_0 => KvType::Q4_0,
                },
                chat_template: self.chat_template.clone(),
                record_tokens: self.record_tokens,
                answer_grammar: self.answer_grammar,
                distinct_answers: self.distinct_answers,
                speculation: self.speculation,
                episodes,
                ..LocalModel::default()
            },
        }
    }

    /// Whether any of these flags was given.
    fn given(&self) -> bool {
        let nowhere = Path::new("");
        self.settings(nowhere, 0) != Flags::default().settings(nowhere, 0)
    }

    /// Whether the model calls tools in its text.
    pub(super) fn calls_in_words(&self) -> bool {
        matches!(self.tool_calls, Calls::Text)
    }

    fn thinking(&self) -> Thinking {
        let mode = match self.think {
            None => ThinkingMode::Default,
            Some(YesNo::Yes) => ThinkingMode::Think,
            Some(YesNo::No) => ThinkingMode::NoThink,
        };
        let switch = self.thinking_switch.map(|kind| match kind {
            SwitchKind::Prompt => ThinkingSwitch::Prompt,
            SwitchKind::Template => ThinkingSwitch::Template,
        });
        Thinking { mode, switch: switch.unwrap_or_default() }
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

fn seconds(text: &str) -> Result<u64, String> {
    let (number, factor) =
        match text.trim().split_at(text.trim().trim_end_matches(char::is_alphabetic).len()) {
            (number, "" | "s") => (number, 1),
            (number, "m") => (number, 60),
            (number, "h") => (number, 3600),
            (number, "d") => (number, 86_400),
            (_, _) => ("", 1),
        };
    let value = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    value.ok_or_else(|| "it must be a time such as 30s, 10m or 2h".into())
}

fn lora(text: &str) -> Result<Lora, String> {
    let (file, scale) = match text.rsplit_once('=') {
        Some((file, scale)) => {
            let scale = scale.parse().ok().filter(|scale: &f32| scale.is_finite());
            (file, scale.ok_or("the scale after `=` must be a number")?)
        }
        None => (text, 1.0),
    };
    Ok(Lora { file: file.into(), scale })
}
