//! Submits the code of one answer: for a verdict outside a run.

use async_trait::async_trait;
use fixfly_runtime::{Action, Policy, PolicyError, View};

use crate::answer;

/// A policy that submits this code in every turn.
pub struct Once(pub String);

#[async_trait]
impl Policy for Once {
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError> {
        Ok(answer::free(view.task, &self.0, None))
    }
}
