//! Reasoning, and the one form of it that a Qwen3 template takes back.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use fixfly_runtime::{Sampling, Thinking, Usage, sha256};
use serde::{Deserialize, Serialize};

use crate::error::DatasetError;

/// Reasoning by the id of the row it was made for.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    all: Vec<Trace>,
    places: HashMap<String, usize>,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// Reasoning for one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The row.
    pub row: String,
    /// The reasoning.
    pub reasoning: String,
    /// Where it comes from; none where nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<TraceOrigin>>,
}

/// Where a trace comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceOrigin {
    /// The model that wrote it.
    pub model: Option<String>,
    /// What it was sampled with.
    pub sampling: Option<Sampling>,
    /// Whether it was to reason.
    pub thinking: Option<Thinking>,
    /// The prompt's name.
    pub prompt: String,
    /// SHA-256 of what was sent.
    pub prompt_sha256: String,
    /// Which try it was.
    pub attempt: u32,
    /// Why it was taken.
    pub accepted_by: String,
    /// Sentences that spoke of a given solution; taken out.
    pub leaks: usize,
    /// Its tokens, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// What this answer cost.
    pub usage: Usage,
    /// The longer trace it was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Box<TraceOrigin>>,
}

impl Traces {
    /// Reads a file of JSON lines, each with `row` and `reasoning`. Of two for
    /// one row the later counts.
    ///
    /// # Errors
    /// [`DatasetError::Input`] with the line that is not one.
    pub fn open(file: &Path) -> Result<Self, DatasetError> {
        let text = fs::read_to_string(file).map_err(DatasetError::io("read", file))?;
        let mut traces = Traces { sha256: sha256(&text), ..Traces::default() };
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
            let trace: Trace = serde_json::from_str(line).map_err(|e| {
                let place = file.display();
                let form = "a line is {\"row\": ID, \"reasoning\": TEXT}";
                DatasetError::Input(format!("{place}:{number} is not a trace ({e}); {form}"))
            })?;
            match traces.places.get(&trace.row) {
                Some(at) => traces.all[*at] = trace,
                None => {
                    traces.places.insert(trace.row.clone(), traces.all.len());
                    traces.all.push(trace);
                }
            }
        }
        Ok(traces)
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Trace> {
        self.all.iter()
    }

    pub(crate) fn of(&self, row: &str) -> Option<&Trace> {
        self.places.get(row).map(|at| &self.all[*at])
    }
}

/// An answer after its reasoning, as Qwen3's template and LLaMA-Factory's know
/// it again: other white space is neither stripped from history nor told apart
/// from words.
pub(crate) fn reasoned(reasoning: &str, answer: &str) -> String {
    format!("<think>\n{}\n</think>\n\n{}", reasoning.trim(), answer.trim_start_matches('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_has_the_one_form_that_templates_know() {
        let expected = "<think>\nOkay.\n</think>\n\n```python\nx\n```";
        assert_eq!(reasoned(" Okay.\n", "\n```python\nx\n```"), expected);
    }
}
