//! How a model generated the text of an action.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a model generated the text of an action: enough to explain the text years later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Generation {
    /// The model's name, as its server or file states it.
    pub model: String,
    /// The sampling settings.
    pub sampling: Sampling,
    /// Whether the model was asked to reason first, and how.
    pub thinking: Thinking,
    /// Why the generation stopped.
    pub finish: Finish,
    /// The server's own word for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// Milliseconds until the first token, if tokens are streamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
    /// Tokens per second after the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// The tokens with their log-probabilities, if requested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Token>,
    /// The native tool calls as the model sent them; empty if it called in its text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub native_calls: Vec<NativeCall>,
    /// What fixfly repaired in order to read the call; empty if it was read as it was sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repaired: Vec<Repair>,
    /// How many answers were dropped before this one, because each repeated an earlier
    /// answer of the episode. Their tokens count in the usage.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resampled: u32,
    /// What speculation drafted for it; `None` if nothing was drafted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speculation: Option<Speculation>,
}

/// Counts of speculative decoding: tokens that were guessed and verified together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Speculation {
    /// Tokens that were drafted.
    pub drafted_tokens: u64,
    /// Drafted tokens that are part of the answer.
    pub accepted_tokens: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A native tool call, as the model sent it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NativeCall {
    /// The server's id of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Name of the tool.
    pub name: String,
    /// The arguments: text that should be a JSON object.
    pub arguments: String,
    /// What the server added to the call and needs to get back, such as Gemini's signature
    /// of its reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_content: Option<serde_json::Value>,
}

/// A fault of a tool call that leaves only one way to read it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Repair {
    /// A code fence enclosed the arguments.
    CodeFence,
    /// The object was repeated, or followed or preceded an empty one.
    DoubledObject,
    /// Text surrounded the object.
    ExtraText,
    /// The JSON was escaped for HTML.
    HtmlEscaped,
    /// Closing braces or brackets were missing.
    MissingBrace,
    /// A closing tag was missing.
    MissingTag,
    /// The arguments were one level too deep or too high.
    Nesting,
    /// Python's literals replaced those of JSON: single quotes, `True`, `None`.
    PythonLiteral,
    /// The JSON was a string of JSON.
    QuotedTwice,
    /// A string contained line breaks or other control characters that were not escaped.
    RawControlCharacter,
    /// The tool's name had a prefix, a suffix or other letter case.
    ToolName,
    /// A comma followed the last value.
    TrailingComma,
    /// A key had no quotes.
    UnquotedKey,
    /// A value was a string where the tool takes another type.
    ValueType,
}

/// Sampling settings. The server or the engine chooses those that are missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sampling {
    /// 0 always takes the most likely token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Sample from the smallest set of tokens whose probabilities add up to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Sample from this many of the most likely tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Maximum tokens of one generation, reasoning included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// The seed that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Sampling {
    /// These settings at a turn, counted from 0. `later` has the temperatures from the
    /// second turn on; the last one repeats.
    pub fn at_turn(&self, later: &[f64], turn: usize) -> Sampling {
        let before = turn.checked_sub(1);
        let later = before.and_then(|at| later.get(at).or(later.last())).copied();
        Sampling { temperature: later.or(self.temperature), ..self.clone() }
    }
}

/// Whether a model is asked to reason before it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Thinking {
    /// The requested mode.
    pub mode: ThinkingMode,
    /// How the model is asked.
    #[serde(rename = "told_by")]
    pub switch: ThinkingSwitch,
}

/// The requested mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ThinkingMode {
    /// No request: the model's own default.
    #[default]
    #[serde(rename = "unsaid")]
    Default,
    /// Reason first.
    Think,
    /// Answer at once.
    #[serde(alias = "nothink")]
    NoThink,
}

/// How a model is asked to reason or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ThinkingSwitch {
    /// It is not asked.
    #[default]
    None,
    /// With `/think` or `/no_think` at the end of the first user message.
    Prompt,
    /// With the variable `enable_thinking` of its chat template.
    Template,
}

/// Why a generation stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model finished.
    Stop,
    /// The model called a tool.
    ToolCall,
    /// The token limit cut it off.
    Length,
    /// A content filter cut it off.
    Filtered,
    /// The model declined to answer.
    Refused,
}

/// One token of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// Index in the model's vocabulary.
    pub id: u32,
    /// Natural logarithm of its probability before sampling.
    pub logprob: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_has_its_temperature_and_the_last_one_repeats() {
        let sampling = Sampling { temperature: Some(0.6), ..Sampling::default() };
        let at = |later: &[f64], turn| sampling.at_turn(later, turn).temperature.unwrap();
        for (later, expected) in [
            (&[][..], [0.6, 0.6, 0.6, 0.6]),
            (&[0.8], [0.6, 0.8, 0.8, 0.8]),
            (&[0.8, 1.0], [0.6, 0.8, 1.0, 1.0]),
        ] {
            assert_eq!([0, 1, 2, 3].map(|turn| at(later, turn)), expected);
        }
    }
}
