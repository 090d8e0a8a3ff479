//! Answers wrong: at each turn another wrong answer of the benchmark's, then stops. It
//! records failing attempts with their real feedback, for training data, without a model.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use fixfly_runtime::{Action, Benchmark, Call, Entry, Policy, PolicyError, Usage, View, sha256};

use crate::{Open, answer};

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "mutants",
    about: "wrong answers, for training data: one to three for each task of the training split",
    open: Open::WrongAnswers(|benchmark| Box::new(Mutants { benchmark, halted: OnceLock::new() })),
};

/// Maximum number of wrong answers of an episode. How many it has, is drawn by its seed,
/// so that a student learns to answer after one failure as well as after three.
const MOST: u64 = 3;

struct Mutants {
    benchmark: Arc<dyn Benchmark>,
    /// Why the benchmark has no wrong answers.
    halted: OnceLock<String>,
}

#[async_trait]
impl Policy for Mutants {
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError> {
        let found = self.benchmark.ground_truth().wrong_answers(view.task);
        let mut answers = found.map_err(|error| {
            let why = self.halted.get_or_init(|| error.to_string());
            PolicyError::Infrastructure(why.clone())
        })?;
        // A hash orders them: the seed alone decides, in every version.
        answers.sort_by_cached_key(|answer| sha256(format!("{}\0{answer}", view.seed)));
        answers.truncate(usize::try_from(1 + view.seed % MOST).unwrap_or(1));
        Ok(match answers.get(view.turns.len()) {
            Some(code) => answer::free(view.task, code, None),
            None => Action {
                text: String::new(),
                reasoning: None,
                call: Call::Submit,
                usage: Usage::default(),
                generation: None,
            },
        })
    }

    fn halted(&self) -> Option<String> {
        self.halted.get().cloned()
    }
}
