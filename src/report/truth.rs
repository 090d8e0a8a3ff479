//! Reference methods of an installed benchmark.

use std::path::Path;
use std::sync::Arc;

use fixfly_benchmarks::metrics::{Compared, Exact, Variant};
use fixfly_benchmarks::source;
use fixfly_runtime::{Benchmark, Call, Episode, RunRecord, Task, Turn};
use serde_json::Value;

use crate::dataset::known;

/// The benchmark of a run, or the reason why it cannot be opened.
pub(super) struct Truth(Result<Arc<dyn Benchmark>, String>);

/// Comparison of a method with the reference.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    /// By [`Exact::Text`].
    pub(crate) same_text: bool,
    /// By [`Exact::Code`].
    pub(crate) same_code: bool,
    /// By each of [`Variant::ALL`].
    pub(crate) compared: [Compared; 2],
}

impl Truth {
    pub(super) fn of(run: &str, record: &RunRecord, chosen: Option<&Path>) -> Self {
        Truth(known::opened(run, record, chosen).map_err(|error| format!("{error:#}")))
    }

    /// The reason why the benchmark cannot be opened.
    pub(super) fn missing(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }

    /// Compares a method with the reference, if there is one.
    pub(super) fn judge(&self, task: &Task, method: &str) -> Option<Judged> {
        let truth = self.0.as_ref().ok()?.ground_truth().reference(task).ok()?;
        Some(Judged {
            same_text: Exact::Text.matches(&truth, method),
            same_code: Exact::Code.matches(&truth, method),
            compared: Variant::ALL.map(|variant| Compared::of(variant, &truth, method)),
        })
    }
}

/// The last submitted method of an episode.
pub(super) fn offered(episode: &Episode) -> Option<String> {
    let name = &episode.task.statement.method()?.name;
    let method = |turn: &Turn| match (&turn.observation.candidate, &turn.action.call) {
        (Some(candidate), _) => Some(candidate.clone()),
        // Recorded before observations had a candidate, or not run.
        (None, Call::Tool { args, .. }) => {
            let code = args.get("code").and_then(Value::as_str)?;
            Some(source::candidate(code, name).ok()?.source)
        }
        _ => None,
    };
    episode.turns.iter().rev().find_map(method)
}
