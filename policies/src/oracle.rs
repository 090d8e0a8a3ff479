//! Answers with the original. A sound benchmark accepts it.

use std::sync::Arc;

use async_trait::async_trait;
use fixfly_runtime::{Action, Answer, Benchmark, Entry, Policy, PolicyError, View};

use crate::{Open, answer, patching};

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "oracle",
    about: "the method, or the change, as its authors wrote it; every task must accept it",
    open: Open::Answers(|benchmark| Box::new(Known { benchmark, answer: Answer::Truth })),
};

/// Gives the same known answer in every turn, or an issue's patch step by step.
pub(crate) struct Known {
    pub(crate) benchmark: Arc<dyn Benchmark>,
    pub(crate) answer: Answer,
}

#[async_trait]
impl Policy for Known {
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError> {
        let code = self.benchmark.ground_truth().answer(view.task, self.answer);
        let code = code.map_err(|error| PolicyError::Infrastructure(error.to_string()))?;
        Ok(match answer::submit_tool(view.task) {
            Some(_) => answer::free(view.task, &code, None),
            None => patching::next(&code, &view),
        })
    }
}
