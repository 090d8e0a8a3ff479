//! The messages between the policy and its engine: one line of JSON each.

use std::path::PathBuf;

use fixfly_runtime::{Finish, Sampling, Token, ToolSpec};
use serde::{Deserialize, Serialize};

use crate::{KvType, Lora};

/// A message to the engine. The first one is `Load`, and no other.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToEngine {
    Load(Load),
    Generate(GenerateRequest),
    /// Nobody waits for the answer to this call any more.
    Cancel(u64),
}

/// A message from the engine. The first one is `Ready` or `Failed`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromEngine {
    Ready,
    /// Why the model cannot be used, in one sentence; the engine exits.
    Failed(String),
    Generated(u64, Generated),
    /// How many calls wait for cells of the cache; sent when it changes.
    Waiting(usize),
    /// A call that cannot be answered, and why.
    Refused(u64, Refusal),
}

/// What the engine loads, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Load {
    pub(super) model: PathBuf,
    /// The students: each is the model with these adapters.
    pub(super) students: Vec<Vec<Lora>>,
    pub(super) gpu_layers: Option<u32>,
    pub(super) threads: Option<u32>,
    pub(super) kv_type: KvType,
    /// Maximum tokens of one episode.
    pub(super) context_length: u32,
    /// Number of parallel episodes.
    pub(super) episodes: usize,
    /// Bytes of one token in the KV cache.
    pub(super) token_bytes: u64,
    /// Whether the episodes share one cache even if each could have its own.
    pub(super) unified_cache: bool,
    /// Maximum tokens of a draft, 0 for none; if `None`, the engine chooses.
    pub(super) speculation: Option<u32>,
}

/// One call to the model.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct GenerateRequest {
    pub(super) id: u64,
    /// Index of the student.
    pub(super) student: usize,
    pub(super) episode: String,
    pub(super) prompt: String,
    pub(super) sampling: Sampling,
    /// Constraint on the answer.
    pub(super) constraint: Constraint,
    pub(super) record_tokens: bool,
    /// Whole answers that are not to be generated again.
    pub(super) excluded: Vec<Vec<Drawn>>,
    /// Whether the probability of each token is returned.
    pub(super) probabilities: bool,
}

/// A token of an answer, and its probability under the sampler's final distribution with
/// nothing excluded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Drawn {
    pub(super) token: i32,
    pub(super) probability: f64,
}

/// A constraint on an answer.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Constraint {
    None,
    /// A call of one of these tools, after the reasoning.
    ToolCall(Vec<ToolSpec>, Reasoning, CallSyntax),
    /// A block that changes one of these lines, after the reasoning.
    Change(Vec<String>, Reasoning),
}

/// The form of a tool call, as a chat template teaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum CallSyntax {
    /// JSON between `<tool_call>` tags, as Qwen3's; also where a template teaches a form
    /// that has no grammar here.
    Json,
    /// `<function=NAME>` with a `<parameter=…>` for each value, as Qwen3-Coder's.
    Elements,
    /// `<arg_key>` and `<arg_value>` for each value, as GLM's.
    Pairs,
    /// A JSON object alone, its arguments named `parameters`, as Llama 3.1's.
    BareJson,
}

impl CallSyntax {
    /// The form that a prompt with tools describes.
    pub(super) fn of(prompt: &str) -> CallSyntax {
        let has = |mark: &str| prompt.contains(mark);
        if has("<function=") {
            CallSyntax::Elements
        } else if has("<arg_key>") {
            CallSyntax::Pairs
        } else if has(r#"{"name": function name, "parameters":"#) {
            CallSyntax::BareJson
        } else {
            CallSyntax::Json
        }
    }
}

/// How an answer's reasoning starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reasoning {
    /// The prompt ends with its opening tag.
    Started,
    /// The model may start it.
    Optional,
    /// The model must not reason.
    Forbidden,
}

/// What the model generated.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Generated {
    pub(super) text: String,
    pub(super) finish: Finish,
    pub(super) prompt_tokens: u64,
    pub(super) cached_tokens: u64,
    pub(super) drafted_tokens: u64,
    pub(super) accepted_tokens: u64,
    /// Byte offset of the end of each token in the text.
    pub(super) ends: Vec<usize>,
    pub(super) first_token_ms: u64,
    pub(super) tokens_per_second: Option<f64>,
    pub(super) tokens: Vec<Token>,
    /// All tokens with their probabilities, if requested.
    pub(super) drawn: Vec<Drawn>,
}

/// Why a call cannot be answered.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// The prompt fills the context.
    TooLong,
    /// The constraint cannot be turned into a grammar.
    Grammar(String),
}
