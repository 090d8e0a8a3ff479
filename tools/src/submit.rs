//! Submits the work: the first call shows the change for review, the next one is final.

use async_trait::async_trait;
use fixfly_runtime::{Call, Entry, Observation, Outcome, Tool, ToolContext, ToolError, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::place::{clipped, root};
use crate::{Open, arguments, parameters};

const NAME: &str = "submit";

pub(crate) const ENTRY: Entry<Open> =
    Entry { name: NAME, about: "hand in the work, after a look at it", open: || Box::new(Submit) };

struct Submit;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {}

const REVIEW: &str = "This is your change. Before you hand it in: does it resolve the issue, and in all cases the issue \
                      speaks of? Did the tests that touch it pass? Is anything in it that only served to look? \
                      Fix what needs fixing, then call `submit` again.";

#[async_trait]
impl Tool for Submit {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.into(),
            description: "Hands in your change of the repository. The first call shows it to you for review; the second ends your work.".into(),
            parameters: parameters::<Arguments>(),
        }
    }

    async fn call(&self, args: Value, context: ToolContext<'_>) -> Result<Observation, ToolError> {
        let Arguments {} = arguments(NAME, args)?;
        root(NAME, &context)?;
        let change = context.work_tree()?.change(context.task, context.sandbox).await?;
        let reviewed = context.turns.iter().any(|turn| {
            let called = matches!(&turn.action.call, Call::Tool { name, .. } if name == NAME);
            called && turn.observation.outcome == Outcome::Done
        });
        if reviewed {
            return Ok(Observation::submitted(change));
        }
        let mut text = match &change.patch {
            Some(patch) => format!("{REVIEW}\n\n{}", clipped(patch, 0)),
            None => "Nothing is changed yet. Call `submit` again only if no change is needed."
                .to_string(),
        };
        text += &change.note();
        Ok(Observation::new(Outcome::Done, text))
    }
}
