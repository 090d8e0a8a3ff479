//! Renders an episode as a conversation. Inference and training share this function, so
//! that a student is trained on the bytes that it will read.

use crate::message::Message;
use crate::task::Task;
use crate::templates::Templates;
use crate::turn::Turn;

/// The conversation of `turns` on `task`: system prompt, task, then an answer and an
/// observation for each turn.
pub fn render(task: &Task, turns: &[Turn], templates: &Templates) -> Vec<Message> {
    task.statement.messages(turns, templates)
}
