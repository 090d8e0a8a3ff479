//! How an episode reads as a conversation: one function for inference and for
//! training, so that a student is trained on the bytes it will see.

use crate::message::Message;
use crate::task::Task;
use crate::templates::Templates;
use crate::turn::Turn;

/// The conversation of `turns` on `task`: system, task, then the policy's
/// words and the world's answer for each turn.
pub fn render(task: &Task, turns: &[Turn], templates: &Templates) -> Vec<Message> {
    task.statement.messages(turns, templates)
}
