//! Submits several methods and functions of one file and returns their test results: a whole
//! turn of a joint task.

use async_trait::async_trait;
use fixfly_runtime::{Entry, Observation, Tool, ToolContext, ToolError, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{Open, arguments, parameters};

const NAME: &str = "submit_methods";

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: NAME,
    about: "put several methods and functions into their file and run their tests",
    open: || Box::new(SubmitMethods),
};

struct SubmitMethods;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// All methods and functions that are asked for, one after the other: each with its
    /// declaration and its body, without decorators and without classes around them.
    code: String,
}

#[async_trait]
impl Tool for SubmitMethods {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.into(),
            description: "Puts all methods and functions into their file and runs the tests that \
                          cover them. Answers with the failures, or says that every test passed."
                .into(),
            parameters: parameters::<Arguments>(),
        }
    }

    async fn call(&self, args: Value, context: ToolContext<'_>) -> Result<Observation, ToolError> {
        let Arguments { code } = arguments(NAME, args)?;
        Ok(context.evaluator()?.evaluate(context.task, &code, context.sandbox).await?)
    }
}
