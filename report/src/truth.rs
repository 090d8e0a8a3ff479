//! Reference methods of an installed benchmark.

use std::sync::Arc;

use fixfly_runtime::{Benchmark, Call, Episode, RunRecord, Task, Turn};
use serde_json::Value;

use super::inputs::Reference;
use crate::metrics::{Compared, Variant, same_text};

/// The benchmark of a run, or the reason why it cannot be opened.
pub(super) struct Truth<'a> {
    benchmark: Result<Arc<dyn Benchmark>, String>,
    reference: &'a dyn Reference,
}

/// Comparison of a method with the reference.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    /// Equal except for trailing whitespace and blank lines around the method.
    pub(crate) same_text: bool,
    /// Equal in [`Reference::normal_form`].
    pub(crate) same_code: bool,
    /// The scores of each of [`Variant::ALL`].
    pub(crate) compared: [Compared; 2],
}

impl<'a> Truth<'a> {
    pub(super) fn of(run: &str, record: &RunRecord, reference: &'a dyn Reference) -> Self {
        Truth { benchmark: reference.benchmark(run, record), reference }
    }

    /// The reason why the benchmark cannot be opened.
    pub(super) fn missing(&self) -> Option<&str> {
        self.benchmark.as_ref().err().map(String::as_str)
    }

    /// Compares a method with the reference, if there is one.
    pub(super) fn judge(&self, task: &Task, method: &str) -> Option<Judged> {
        let truth = self.benchmark.as_ref().ok()?.ground_truth().reference(task).ok()?;
        let code = |method: &str| self.reference.normal_form(method);
        Some(Judged {
            same_text: same_text(&truth, method),
            same_code: code(&truth) == code(method),
            compared: Variant::ALL.map(|variant| Compared::of(variant, &truth, method)),
        })
    }
}

/// The last submitted method of an episode.
pub(super) fn offered(episode: &Episode, reference: &dyn Reference) -> Option<String> {
    let statement = &episode.task.statement;
    if statement.methods().is_empty() {
        return None;
    }
    let method = |turn: &Turn| match (&turn.observation.candidate, &turn.action.call) {
        (Some(candidate), _) => Some(candidate.clone()),
        // Either the record is older than the field `candidate`, or the code did not run.
        (None, Call::Tool { args, .. }) => {
            let code = args.get("code").and_then(Value::as_str)?;
            reference.submitted(code, &statement.method()?.name)
        }
        _ => None,
    };
    episode.turns.iter().rev().find_map(method)
}
