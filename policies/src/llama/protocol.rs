//! What the policy and its engine tell each other: one line of JSON each.

use std::path::PathBuf;

use fixfly_runtime::{Finish, Sampling, Token, ToolSpec};
use serde::{Deserialize, Serialize};

use crate::{KvType, Lora};

/// To the engine. The first line is a `Load`, and only the first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    Load(Load),
    Say(Say),
    /// Nobody waits for this call any more.
    Permit(u64),
}

/// From the engine. The first line is `Ready` or `Failed`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Ready,
    /// The model cannot be used, in one sentence; the engine ends.
    Failed(String),
    Said(u64, Said),
    /// A call that cannot be met, and why.
    Not(u64, Refusal),
}

/// What to serve, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Load {
    pub(super) model: PathBuf,
    /// Who speaks: each is the model with these adapters.
    pub(super) students: Vec<Vec<Lora>>,
    pub(super) gpu_layers: Option<u32>,
    pub(super) threads: Option<u32>,
    pub(super) kv_type: KvType,
    /// Tokens of one episode at most.
    pub(super) window: u32,
    /// Episodes at a time.
    pub(super) episodes: usize,
    /// Bytes that a token takes in the cache.
    pub(super) cell: u64,
}

/// One call of the model.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Say {
    pub(super) id: u64,
    /// Which of the students.
    pub(super) student: usize,
    pub(super) episode: String,
    pub(super) prompt: String,
    pub(super) sampling: Sampling,
    /// What the words must be, if anything.
    pub(super) form: Form,
    pub(super) record_tokens: bool,
}

/// What words must be.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Form {
    Free,
    /// A call of one of these tools, after a thought.
    Call(Vec<ToolSpec>, Thought),
}

/// Where the thought of an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Thought {
    /// The prompt opened it.
    Opened,
    /// The model may open it, or not.
    Open,
    /// There is to be none.
    Without,
}

/// What the model said.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) finish: Finish,
    pub(super) prompt_tokens: u64,
    pub(super) cached_tokens: u64,
    /// Where each token ends in the text, in bytes.
    pub(super) ends: Vec<usize>,
    pub(super) first_token_ms: u64,
    pub(super) tokens_per_second: Option<f64>,
    pub(super) tokens: Vec<Token>,
}

/// Why a call cannot be met.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// The prompt leaves no room in the window.
    TooLong,
    /// The form cannot be made a grammar.
    Form(String),
}
