//! TRL's conversational formats. Loss on the answer only is `prompt` and `completion`,
//! which TRL trains like that by default. Loss on all assistant messages is `messages` with
//! `assistant_only_loss`, because TRL's default is loss on everything.

use serde_json::{Value, json};

use crate::error::DatasetError;
use crate::recipe::{Loss, Recipe};
use crate::row::{Line, Row};
use crate::summary::Summary;

pub(super) fn check(recipe: &Recipe) -> Result<(), DatasetError> {
    match recipe.loss {
        Loss::All | Loss::Last => Ok(()),
        Loss::PerMessage => Err(DatasetError::Recipe(
            "TRL cannot mark single messages with loss: remove trl from --format, or use --loss all or last".into(),
        )),
    }
}

pub(super) fn row(row: &Row, recipe: &Recipe) -> Value {
    let say = |line: &Line| json!({ "role": line.role, "content": line.content });
    let messages: Vec<Value> = row.messages.iter().map(say).collect();
    match recipe.loss {
        Loss::Last => {
            let (prompt, completion) = messages.split_at(messages.len() - 1);
            json!({ "prompt": prompt, "completion": completion })
        }
        Loss::All | Loss::PerMessage => json!({ "messages": messages }),
    }
}

pub(super) fn beside(summary: &Summary) -> Vec<(&'static str, String)> {
    let settings = match summary.recipe.loss {
        Loss::Last => json!({ "completion_only_loss": true }),
        Loss::All | Loss::PerMessage => json!({ "assistant_only_loss": true }),
    };
    let mut settings = settings;
    settings["max_length"] = summary.recipe.limits.tokens.unwrap_or(summary.lengths.most).into();
    let text = serde_json::to_string_pretty(&settings).unwrap_or_default();
    vec![("sft_config.json", format!("{text}\n"))]
}
