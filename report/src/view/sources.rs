//! What pages show besides recorded runs. Other crates provide it; the caller passes it.

use std::path::Path;

use fixfly_runtime::{Episode, Message, RunRecord, Task};

/// Originals, prompts and datasets. An error is the reason why there is none, in one
/// sentence.
pub trait Sources: Send + Sync {
    /// The original method of a task.
    ///
    /// # Errors
    /// The reason why the benchmark cannot be opened or has no such task.
    fn original(&self, run: &Path, record: &RunRecord, task: &Task) -> Result<String, String>;

    /// The prompt of a turn, counted from 0.
    ///
    /// # Errors
    /// The reason why not even its messages can be made.
    fn prompt(
        &self,
        run: &Path,
        record: &RunRecord,
        episode: &Episode,
        turn: usize,
    ) -> Result<Prompt, String>;

    /// Opens a dataset folder.
    ///
    /// # Errors
    /// The reason why it cannot be read.
    fn dataset(&self, path: &Path) -> Result<Box<dyn DatasetRows>, String>;
}

/// A prompt, as exactly as this machine can make it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// The text that the model read; without its template, the messages under their roles.
    pub text: String,
    /// The number of tokens; `None` without the model's tokenizer.
    pub tokens: Option<usize>,
    /// What is missing for the exact prompt; `None` if this is it.
    pub missing: Option<String>,
}

impl Prompt {
    /// The messages under the roles of their authors, where `missing` is not at hand.
    pub fn of_messages(messages: &[Message], missing: String) -> Prompt {
        let text = |one: &Message| format!("[{}]\n{}\n", one.role.name(), one.content);
        let text = messages.iter().map(text).collect::<Vec<_>>().join("\n");
        Prompt { text, tokens: None, missing: Some(missing) }
    }
}

/// The rows of a dataset, read one at a time.
pub trait DatasetRows: Send + Sync {
    /// The number of rows.
    fn len(&self) -> usize;

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row at an index below [`DatasetRows::len`].
    ///
    /// # Errors
    /// The reason why it cannot be read.
    fn row(&self, at: usize) -> Result<DatasetRow, String>;

    /// The rule of the recipe that made a row; `None` if the row cannot be read.
    fn rule(&self, at: usize) -> Option<String>;

    /// Facts about the dataset: names and values.
    fn facts(&self) -> Vec<(String, String)>;

    /// Results of the leak audit, one sentence each.
    fn audit(&self) -> Vec<String>;

    /// Number of rows by length: the upper limit in tokens, and the number.
    fn lengths(&self) -> Vec<(usize, usize)>;

    /// The rules of the recipe by which rows were made, with the number of rows.
    fn rules(&self) -> Vec<(String, usize)>;
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetRow {
    /// Its id.
    pub id: String,
    /// The file that contains it: `train` or `validation`.
    pub part: String,
    /// The rule of the recipe that made it.
    pub rule: String,
    /// Its tokens, as the dataset counts them; `None` if unknown.
    pub tokens: Option<usize>,
    /// Its text.
    pub segments: Vec<Segment>,
    /// The text that the student reads, in pieces of tokens with and without loss. A row
    /// can be several sequences; without a tokenizer there are none.
    pub sequences: Vec<Vec<Segment>>,
    /// Why there are no sequences, in one sentence; empty if there are.
    pub whole: String,
    /// Its origin.
    pub origin: RowOrigin,
}

/// A piece of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Who wrote it; empty in a sequence.
    pub role: String,
    /// The text.
    pub text: String,
    /// Whether it carries loss.
    pub loss: bool,
}

/// The episode that a row was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowOrigin {
    /// The run, as it was named when the dataset was built.
    pub run: String,
    /// The task.
    pub task: String,
    /// Index of the sample.
    pub sample: u32,
    /// The failing turns that stayed, counted from 1.
    pub turns: Vec<usize>,
    /// The source of the answer: `turn 2`, or `the original method`.
    pub answer: String,
    /// The turn of the answer, counted from 1, if a turn is its source.
    pub answer_turn: Option<usize>,
}
