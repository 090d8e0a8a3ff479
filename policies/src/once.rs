//! Submits one method: for a verdict outside a run.

use async_trait::async_trait;
use fixfly_runtime::{Action, Call, Policy, PolicyError, Usage, View};
use serde_json::json;

use crate::answer::METHOD;

/// A policy that submits this method in every turn.
pub struct Once(pub String);

#[async_trait]
impl Policy for Once {
    async fn act(&self, _: View<'_>) -> Result<Action, PolicyError> {
        let args = json!({ "code": self.0 });
        Ok(Action {
            text: self.0.clone(),
            reasoning: None,
            call: Call::Tool { name: METHOD.into(), args },
            usage: Usage::default(),
            generation: None,
        })
    }
}
