//! Answers with a stub at the first turn and with the truth at the second: every
//! task must be solved at turn 2.

use std::sync::Arc;

use async_trait::async_trait;
use fixfly_policies::Open;
use fixfly_runtime::{Action, Answer, Benchmark, Call, Entry, Policy, PolicyError, Usage, View};

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "second",
    about: "a stub, then the method as its authors wrote it",
    open: Open::Answers(|benchmark| Box::new(Second { benchmark })),
};

struct Second {
    benchmark: Arc<dyn Benchmark>,
}

#[async_trait]
impl Policy for Second {
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError> {
        let answer = if view.turns.is_empty() { Answer::Stub } else { Answer::Truth };
        let code = self.benchmark.ground_truth().answer(view.task, answer);
        let code = code.map_err(|error| PolicyError::Infrastructure(error.to_string()))?;
        let args = serde_json::json!({ "code": code });
        Ok(Action {
            text: format!("```python\n{code}```\n"),
            reasoning: None,
            call: Call::Tool { name: "submit_method".into(), args },
            usage: Usage::default(),
            generation: None,
        })
    }
}
