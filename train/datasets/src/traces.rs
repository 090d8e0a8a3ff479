//! Reasoning traces, and their format inside an answer.

use std::collections::HashMap;
use std::path::Path;

use fixfly_runtime::{Sampling, Thinking, Usage, sha256};
use serde::{Deserialize, Serialize};

use crate::error::DatasetError;

/// Reasoning traces, by the id of their row.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    all: Vec<Trace>,
    places: HashMap<String, usize>,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// The reasoning for one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The row.
    pub row: String,
    /// The reasoning.
    pub reasoning: String,
    /// The origin of the trace, if the file records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<TraceOrigin>>,
}

/// The origin of a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceOrigin {
    /// The model that wrote it.
    pub model: Option<String>,
    /// The sampling settings.
    pub sampling: Option<Sampling>,
    /// Whether the model was asked to reason.
    pub thinking: Option<Thinking>,
    /// The prompt's name.
    pub prompt: String,
    /// SHA-256 of the request's messages.
    pub prompt_sha256: String,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// Why the trace was accepted.
    pub accepted_by: String,
    /// Number of removed sentences, which mentioned a given solution.
    pub leaks: usize,
    /// Number of tokens, if they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// The cost of the answer.
    pub usage: Usage,
    /// The origin of the longer trace that this one replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Box<TraceOrigin>>,
}

impl Traces {
    /// Reads a file of JSON lines, each with `row` and `reasoning`. A later line replaces
    /// an earlier one of the same row.
    ///
    /// # Errors
    /// [`DatasetError::Input`], with the line that is not a trace.
    pub fn open(file: &Path) -> Result<Self, DatasetError> {
        let text = fixfly_runtime::read_text(file).map_err(DatasetError::io("read", file))?;
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

    /// All traces, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Trace> {
        self.all.iter()
    }

    pub(crate) fn of(&self, row: &str) -> Option<&Trace> {
        self.places.get(row).map(|at| &self.all[*at])
    }
}

/// Combines reasoning and answer as Qwen3's template and LLaMA-Factory expect it. With any
/// other whitespace they would not recognise the reasoning in the history.
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
