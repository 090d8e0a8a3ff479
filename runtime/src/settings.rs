//! The settings of a policy that uses a model.

use std::path::PathBuf;

use crate::generation::{Sampling, Thinking};
use crate::shard::Shard;
use serde::{Deserialize, Serialize};

/// The settings of a model, whatever serves it. They are recorded in `run.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The model: its name on a server, or a GGUF file.
    pub model: Option<String>,
    /// How its answers are sampled.
    pub sampling: Sampling,
    /// Temperatures from the second turn on, instead of the one in `sampling`; the last one
    /// repeats.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub later_temperatures: Vec<f64>,
    /// Whether it is asked to reason first, and how.
    pub thinking: Thinking,
    /// How it calls tools.
    pub calls: CallForm,
    /// Settings of a model behind a server.
    #[serde(rename = "teacher")]
    pub remote: RemoteModel,
    /// Settings of a model that llama.cpp runs on this machine.
    #[serde(rename = "student")]
    pub local: LocalModel,
}

/// How a model calls tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallForm {
    /// In the text of the answer: a fenced block for the only tool of a method task,
    /// otherwise `<tool_call>` with JSON.
    #[default]
    Text,
    /// Through the server's own tool calls, or constrained by a grammar.
    Native,
}

/// A model behind an OpenAI-compatible server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RemoteModel {
    /// A profile: a built-in name or a TOML file.
    pub profile: Option<String>,
    /// The server's address, up to and including `/v1`.
    pub base_url: Option<String>,
    /// The addresses of further servers of the same model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_base_urls: Vec<String>,
    /// The environment variable that holds the API key. The key itself is never stored.
    pub api_key_env: Option<String>,
    /// Whether answers are streamed; if `None`, the profile decides.
    pub stream: Option<bool>,
    /// Maximum cost of the run, in US dollars. You can resume a run with a larger budget.
    #[serde(skip)]
    pub budget_usd: Option<f64>,
    /// Maximum cost of one episode, in US dollars. The task's budget has it, too; here it
    /// ensures that the prices are known.
    pub episode_budget_usd: Option<f64>,
    /// The longest wait in seconds that the server may ask for; a longer one stops the run.
    #[serde(skip)]
    pub max_retry_wait: Option<u64>,
    /// The shard of the run, which has its part of the budget and of the server's rate limits.
    #[serde(skip)]
    pub shard: Option<Shard>,
    /// The run directory. Its name identifies the run's calls in the journal.
    #[serde(skip)]
    pub run: PathBuf,
    /// The folder of the journal: the run's own, or one that several runs share.
    #[serde(skip)]
    pub journal: PathBuf,
}

/// A model that llama.cpp runs on this machine, in a process of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalModel {
    /// Adapters that are added to the model.
    pub loras: Vec<Lora>,
    /// Number of layers on the GPU; as many as fit if `None`.
    pub gpu_layers: Option<u32>,
    /// Maximum tokens of one episode; the model's context length if `None`.
    #[serde(rename = "context")]
    pub context_length: Option<u32>,
    /// Number of threads; the number of CPUs if `None`.
    pub threads: Option<u32>,
    /// Dtype of the KV cache.
    pub kv_type: KvType,
    /// A Jinja file that replaces the model's own chat template.
    pub chat_template: Option<PathBuf>,
    /// Whether token ids and log-probabilities are recorded.
    pub record_tokens: bool,
    /// Whether a grammar holds answers to changes of a line of the faulty method.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub answer_grammar: bool,
    /// Whether an answer that repeats an earlier one of the episode is sampled again,
    /// without replacement.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub distinct_answers: bool,
    /// Maximum tokens of a draft; 0 or `None` for no speculation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speculation: Option<u32>,
    /// The program that runs llama.cpp: one that calls `llama_engine` of
    /// fixfly-policies if its first argument is `llama-engine`. This program if `None`.
    #[serde(skip)]
    pub engine: Option<PathBuf>,
    /// Number of episodes to decode in parallel.
    #[serde(skip)]
    pub episodes: usize,
    /// Whether all episodes share one cache even if each could have its own.
    #[serde(skip)]
    pub unified_cache: bool,
}

impl LocalModel {
    /// Reads a maximum of drafted tokens: a number from 1 to 64, or `off`.
    ///
    /// # Errors
    /// What it must be, in one sentence.
    pub fn parse_speculation(text: &str) -> Result<u32, String> {
        match text {
            "off" => Ok(0),
            _ => text
                .parse()
                .ok()
                .filter(|count| (1..=64).contains(count))
                .ok_or_else(|| "it must be a number of tokens from 1 to 64, or `off`".into()),
        }
    }
}

/// An adapter and its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lora {
    /// A GGUF file.
    pub file: PathBuf,
    /// Factor that the adapter's weights are multiplied by.
    pub scale: f32,
}

/// Dtype of a KV cache.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speculation_is_a_number_of_tokens_or_off() {
        for (text, expected) in [("off", Some(0)), ("1", Some(1)), ("64", Some(64))] {
            assert_eq!(LocalModel::parse_speculation(text).ok(), expected, "{text}");
        }
        for text in ["0", "65", "-1", "on", ""] {
            assert!(LocalModel::parse_speculation(text).is_err(), "{text}");
        }
    }
}
