//! A row of a dataset: a conversation, what of it is learned, and where it
//! comes from.

use fixfly_runtime::{Role, Sampling, Thinking};
use serde::{Deserialize, Serialize};

use crate::item::Answer;
use crate::recipe::Kind;
use crate::traces::TraceOrigin;

/// One example, as it stands in `rows.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The task and a hash of what is learned; `+think` where it has reasoning.
    pub id: String,
    /// The file it went to.
    pub part: Part,
    /// What the episode was.
    pub kind: Kind,
    /// Tokens, as the dataset counts them.
    pub tokens: usize,
    /// The conversation: system, user, then the model and the user in turn.
    pub messages: Vec<Line>,
    /// Where it comes from.
    pub origin: Origin,
    /// What it is to a student whose tokenizer and chat template are known; in
    /// a file of its own.
    #[serde(skip)]
    pub sequences: Vec<Sequence>,
}

impl Row {
    /// Whether its answer begins with reasoning.
    pub fn reasons(&self) -> bool {
        self.origin.reasoning.is_some()
    }
}

/// Which file a row goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// To learn from.
    Train,
    /// To choose by.
    Validation,
}

impl Part {
    /// Both.
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
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// Whether it is learned.
    pub loss: bool,
}

/// Tokens to train on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequence {
    /// The message of the model that is learned, counted from 1; none for the
    /// whole row.
    pub turn: Option<usize>,
    /// Tokens, by their numbers in the vocabulary.
    pub tokens: Vec<u32>,
    /// From which token up to before which, each span that is learned.
    pub loss: Vec<[usize; 2]>,
}

/// Where a row comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The run, as it was named.
    pub run: String,
    /// Whom the recipe takes the run for.
    pub teacher: String,
    /// The policy that acted.
    pub policy: String,
    /// The task.
    pub task: String,
    /// Which of its samples.
    pub sample: u32,
    /// The seed of the episode.
    pub seed: u64,
    /// The failing attempts that stayed, counted from 1.
    pub failing_turns: Vec<usize>,
    /// Where the answer comes from.
    pub answer: Answer,
    /// The model whose words the last turn was; none where no model spoke.
    pub model: Option<String>,
    /// What that turn was sampled with.
    pub sampling: Option<Sampling>,
    /// Whether the model was to reason.
    pub thinking: Option<Thinking>,
    /// SHA-256 of the wording of the conversation.
    pub wording: String,
    /// SHA-256 of all messages before the answer.
    pub prompt_sha256: String,
    /// What the benchmark said of the episode; none where it had no patch.
    pub verdict: Option<Verdict>,
    /// Where its reasoning comes from; none where it has none.
    pub reasoning: Option<String>,
    /// Where a trace of a file comes from, where the file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Box<TraceOrigin>>,
    /// Methods of the benchmark that were taken out of the file in the prompt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
}

/// What a benchmark said of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Its tests pass.
    pub solved: bool,
    /// So do the wider tests; none where there are none.
    #[serde(alias = "held_up")]
    pub hidden_tests_pass: Option<bool>,
    /// It is the original, word for word.
    pub exact_match: bool,
}
