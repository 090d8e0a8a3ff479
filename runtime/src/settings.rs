//! What a user decides about a policy that asks a model.

use std::path::PathBuf;

use crate::generation::{Sampling, Thinking};
use serde::{Deserialize, Serialize};

/// What a run asks of a model, whatever serves it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The model: a name that a server knows, or a GGUF file.
    pub model: Option<String>,
    /// How its words are sampled.
    pub sampling: Sampling,
    /// Whether it reasons first, and how it is told.
    pub thinking: Thinking,
    /// How it calls tools.
    pub calls: CallForm,
    /// For a model behind a server.
    pub teacher: Teacher,
    /// For a model in this process.
    pub student: Student,
}

/// How a model calls tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallForm {
    /// In its words: a fenced block for the one tool of a method task, else
    /// `<tool_call>` with JSON.
    #[default]
    Text,
    /// By the server's own tool calls, or constrained by a grammar.
    Native,
}

/// A model behind an OpenAI-compatible server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Teacher {
    /// A profile: one that comes with fixfly, or a TOML file.
    pub profile: Option<String>,
    /// Where the server is, up to and including `/v1`.
    pub base_url: Option<String>,
    /// The environment variable that holds the key. The key itself is never kept.
    pub api_key_env: Option<String>,
    /// Whether tokens are asked for as they come; the profile's choice if not said.
    pub stream: Option<bool>,
    /// US dollars the run may cost. A run may be continued with more.
    #[serde(skip)]
    pub budget_usd: Option<f64>,
    /// US dollars one episode may cost: in the task's budget too, and here
    /// because it asks for known prices.
    pub episode_budget_usd: Option<f64>,
    /// The run directory: what is bought for it is told apart by its name.
    #[serde(skip)]
    pub run: PathBuf,
    /// The folder answers are kept in: the run's own, or one shared by runs.
    #[serde(skip)]
    pub journal: PathBuf,
}

/// A model in this process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Student {
    /// Adapters, added to the model.
    pub loras: Vec<Lora>,
    /// Layers on the GPU; all that fit if not said.
    pub gpu_layers: Option<u32>,
    /// Tokens of one episode at most; the model's own window if not said.
    pub context: Option<u32>,
    /// Threads; as many as there are processors if not said.
    pub threads: Option<u32>,
    /// Numbers the cache is kept in.
    pub kv_type: KvType,
    /// A Jinja file to use in place of the model's own chat template.
    pub chat_template: Option<PathBuf>,
    /// Whether token ids and log-probabilities are recorded.
    pub record_tokens: bool,
    /// The program that runs llama.cpp: one that calls `llama_engine` of
    /// fixfly-policies if its first argument is `llama-engine`. This program if `None`.
    #[serde(skip)]
    pub engine: Option<PathBuf>,
    /// Episodes decoded at a time.
    #[serde(skip)]
    pub episodes: usize,
}

/// An adapter and its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lora {
    /// A GGUF file.
    pub file: PathBuf,
    /// What its change is multiplied by.
    pub scale: f32,
}

/// Numbers a cache is kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    #[default]
    F16,
    /// 8-bit blocks.
    Q8_0,
    /// 4-bit blocks.
    Q4_0,
}
