// Replaced by branch pages.
//! What a viewer needs from the other crates: originals, prompts and datasets.

use std::path::Path;

use fixfly_runtime::{Episode, RunRecord, Task};

/// The exact prompt of a turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompt {
    /// The text.
    pub text: String,
    /// Its tokens, if a tokenizer is at hand.
    pub tokens: Option<usize>,
    /// What is missing for the exact prompt.
    pub missing: Option<String>,
}

/// The rows of a dataset.
pub trait DatasetRows: Send + Sync {}

/// What a viewer needs from the other crates.
pub trait Sources: Send + Sync {
    /// The original method of a task.
    ///
    /// # Errors
    /// The reason, in one sentence.
    fn original(&self, run: &Path, record: &RunRecord, task: &Task) -> Result<String, String>;

    /// The exact prompt of a turn.
    ///
    /// # Errors
    /// What is missing, in one sentence.
    fn prompt(
        &self,
        run: &Path,
        record: &RunRecord,
        episode: &Episode,
        turn: usize,
    ) -> Result<Prompt, String>;

    /// The rows of a dataset.
    ///
    /// # Errors
    /// The reason, in one sentence.
    fn dataset(&self, path: &Path) -> Result<Box<dyn DatasetRows>, String>;
}
