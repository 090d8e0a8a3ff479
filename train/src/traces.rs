//! Reasoning, and the one form of it that a Qwen3 template takes back.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::error::DatasetError;

/// Reasoning by the id of the row it was made for.
#[derive(Clone, Debug, Default)]
pub struct Traces(HashMap<String, String>);

#[derive(Deserialize)]
struct Trace {
    row: String,
    reasoning: String,
}

impl Traces {
    /// Reads a file of JSON lines, each with `row` and `reasoning`.
    ///
    /// # Errors
    /// [`DatasetError::Input`] with the line that is not one.
    pub fn open(file: &Path) -> Result<Self, DatasetError> {
        let text = fs::read_to_string(file).map_err(DatasetError::io("read", file))?;
        let mut traces = HashMap::new();
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
            let trace: Trace = serde_json::from_str(line).map_err(|e| {
                let place = file.display();
                let form = "a line is {\"row\": ID, \"reasoning\": TEXT}";
                DatasetError::Input(format!("{place}:{number} is not a trace ({e}); {form}"))
            })?;
            traces.insert(trace.row, trace.reasoning);
        }
        Ok(Traces(traces))
    }

    pub(crate) fn of(&self, row: &str) -> Option<&str> {
        self.0.get(row).map(String::as_str)
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
