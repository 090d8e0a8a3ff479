//! A row of a dataset: a conversation, which messages carry loss, and its origin.

use fixfly_runtime::{Role, Sampling, Thinking};
use serde::{Deserialize, Serialize};

use crate::item::Answer;
use crate::recipe::Kind;
use crate::traces::TraceOrigin;

/// One training example, as in `rows.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The task and a hash of the trained text; `+think` if it has reasoning.
    pub id: String,
    /// The file that contains it.
    pub part: Part,
    /// The kind of the episode.
    pub kind: Kind,
    /// Number of tokens, as the dataset counts them.
    pub tokens: usize,
    /// The conversation: system, user, then assistant and user in turn.
    pub messages: Vec<Line>,
    /// The origin of the row.
    pub origin: Origin,
    /// Its tokens, if the student's tokenizer and chat template are known. They are in a
    /// separate file.
    #[serde(skip)]
    pub sequences: Vec<Sequence>,
}

impl Row {
    /// Whether the answer starts with reasoning.
    pub fn reasons(&self) -> bool {
        self.origin.reasoning.is_some()
    }
}

/// The file of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Rows for training.
    Train,
    /// Rows for choosing a checkpoint.
    Validation,
}

impl Part {
    /// Both parts.
    pub const ALL: [Part; 2] = [Part::Train, Part::Validation];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Validation => "validation",
        }
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The role of the author.
    pub role: Role,
    /// The text.
    pub content: String,
    /// Whether it carries loss.
    pub loss: bool,
}

/// Tokens to train on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequence {
    /// The assistant message that carries loss, counted from 1; `None` for the whole row.
    pub turn: Option<usize>,
    /// The tokens, as indices in the vocabulary.
    pub tokens: Vec<u32>,
    /// Spans of tokens that carry loss, as start and end; the end is not included.
    pub loss: Vec<[usize; 2]>,
}

/// The origin of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Name of the run in the command.
    pub run: String,
    /// The recipe's name of the teacher.
    pub teacher: String,
    /// The policy that acted.
    pub policy: String,
    /// The task.
    pub task: String,
    /// Index of the sample.
    pub sample: u32,
    /// The seed of the episode.
    pub seed: u64,
    /// The failing attempts that stayed, counted from 1.
    pub failing_turns: Vec<usize>,
    /// The source of the answer.
    pub answer: Answer,
    /// The model that wrote the last turn; `None` if none did.
    pub model: Option<String>,
    /// Sampling settings of that turn.
    pub sampling: Option<Sampling>,
    /// Whether the model was asked to reason.
    pub thinking: Option<Thinking>,
    /// SHA-256 of the conversation's wording.
    pub wording: String,
    /// SHA-256 of all messages before the answer.
    pub prompt_sha256: String,
    /// The verdict on the episode; `None` if it has no patch.
    pub verdict: Option<Verdict>,
    /// The source of the reasoning; `None` if there is none.
    pub reasoning: Option<String>,
    /// The origin of the trace, if the trace file records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Box<TraceOrigin>>,
    /// Methods of the benchmark that were removed from the file in the prompt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
}

/// The benchmark's verdict on an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether the tests passed.
    pub solved: bool,
    /// Whether the hidden tests passed; `None` if there are none.
    #[serde(alias = "held_up")]
    pub hidden_tests_pass: Option<bool>,
    /// Whether the answer equals the original, word for word.
    pub exact_match: bool,
}
