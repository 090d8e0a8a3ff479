//! OpenAI's format for fine-tuning on chats. Each assistant message has a `weight`, which
//! is 1 if it carries loss.

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
