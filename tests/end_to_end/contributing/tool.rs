//! Lists a folder.

use async_trait::async_trait;
use fixfly_runtime::{
    Command, Entry, Observation, Outcome, Status, Tool, ToolContext, ToolError, ToolSpec,
};
use fixfly_tools::Open;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

const NAME: &str = "list";

pub(crate) const ENTRY: Entry<Open> =
    Entry { name: NAME, about: "list a folder", open: || Box::new(List) };

struct List;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The folder, an absolute path.
    path: String,
}

#[async_trait]
impl Tool for List {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.into(),
            description: "Lists the files of a folder.".into(),
            parameters: schemars::schema_for!(Arguments).to_value(),
        }
    }

    async fn call(&self, args: Value, context: ToolContext<'_>) -> Result<Observation, ToolError> {
        let Arguments { path } = serde_json::from_value(args)
            .map_err(|why| ToolError::Refused(format!("wrong arguments of `{NAME}`: {why}")))?;
        let listed = context.sandbox.exec(&Command::new(["ls", "-1", "--", &path])).await?;
        if listed.status != Status::Exited(0) {
            return Err(ToolError::Refused(format!("`{NAME}`: there is no folder {path}")));
        }
        Ok(Observation::new(Outcome::Done, String::from_utf8_lossy(&listed.stdout)))
    }
}
