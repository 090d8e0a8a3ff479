//! How a model made the words of an action.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a model made the words of an action: enough to tell, years later, why
/// they are what they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Generation {
    /// The model, as its server or file names itself.
    pub model: String,
    /// What it was sampled with.
    pub sampling: Sampling,
    /// Whether it was to reason first, and how it was told.
    pub thinking: Thinking,
    /// Why it stopped.
    pub finish: Finish,
    /// Milliseconds until the first token came, where tokens come one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
    /// Tokens a second after the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// Each token with its log-probability, where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Token>,
}

/// What a generation is sampled with. What is not given is left to the server
/// or the engine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sampling {
    /// 0 takes the likeliest token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Smallest set of tokens whose probabilities sum to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Number of likeliest tokens considered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Tokens of one generation at most, reasoning included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// The seed that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// Whether a model was to reason before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Thinking {
    /// What was asked for.
    pub mode: ThinkingMode,
    /// How the model was told.
    #[serde(rename = "told_by")]
    pub switch: ThinkingSwitch,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ThinkingMode {
    /// Nothing: the model does as it does.
    #[default]
    #[serde(rename = "unsaid")]
    Default,
    /// Reason first.
    Think,
    /// Answer at once.
    NoThink,
}

/// How a model is told to reason or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ThinkingSwitch {
    /// It is not told.
    #[default]
    None,
    /// By `/think` or `/no_think` at the end of the first user message.
    Prompt,
    /// By the variable `enable_thinking` of its chat template.
    Template,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It was done.
    Stop,
    /// It called a tool.
    ToolCall,
    /// It was cut off at the limit of tokens.
    Length,
    /// A content filter cut it off.
    Filtered,
    /// It declined to answer.
    Refused,
}

/// One token of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// Its number in the model's vocabulary.
    pub id: u32,
    /// Natural logarithm of its probability before sampling.
    pub logprob: f32,
}
