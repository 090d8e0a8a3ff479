//! OpenAI's form for fine-tuning on chats: each message of the model has a
//! `weight`, 1 where it is learned.

use fixfly_runtime::Role;
use serde_json::{Value, json};

use crate::recipe::Recipe;
use crate::row::{Line, Row};

pub(super) fn row(row: &Row, _: &Recipe) -> Value {
    json!({ "messages": row.messages.iter().map(message).collect::<Vec<_>>() })
}

fn message(line: &Line) -> Value {
    match line.role {
        Role::Assistant => {
            json!({ "role": line.role, "content": line.content, "weight": u8::from(line.loss) })
        }
        _ => json!({ "role": line.role, "content": line.content }),
    }
}
