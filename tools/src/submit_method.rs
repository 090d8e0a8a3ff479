//! Submits one method and returns its test results: a whole turn of a method task.

use async_trait::async_trait;
use fixfly_runtime::{Entry, Observation, Tool, ToolContext, ToolError, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{Open, arguments, parameters};

const NAME: &str = "submit_method";

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: NAME,
    about: "put a method into its class and run its tests",
    open: || Box::new(SubmitMethod),
};

struct SubmitMethod;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The whole method: its declaration and its body, without decorators.
    code: String,
}

#[async_trait]
impl Tool for SubmitMethod {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.into(),
            description: "Puts the method into its class and runs the tests that cover it. \
                          Answers with the failures, or says that every test passed."
                .into(),
            parameters: parameters::<Arguments>(),
        }
    }

    async fn call(&self, args: Value, context: ToolContext<'_>) -> Result<Observation, ToolError> {
        let Arguments { code } = arguments(NAME, args)?;
        Ok(context.evaluator()?.evaluate(context.task, &code, context.sandbox).await?)
    }
}
