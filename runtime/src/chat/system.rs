//! Puts system messages into user messages, for templates that have no system role.

use crate::message::{Message, Role};

/// How a chat template renders a system message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SystemRole {
    /// The template renders it.
    #[default]
    Rendered,
    /// The template rejects it or leaves it out, so its text begins the next user message.
    Folded,
}

impl SystemRole {
    /// True for a template that renders system messages itself.
    pub fn is_rendered(&self) -> bool {
        *self == SystemRole::Rendered
    }
}

/// The conversation without system messages: each one begins the next user message, after
/// which an empty line follows. It is a user message if no other comes before an answer.
pub(super) fn folded(messages: &[Message]) -> Vec<Message> {
    let user = |content| Message { role: Role::User, content };
    let mut folded = Vec::with_capacity(messages.len());
    let mut waiting = Vec::new();
    for message in messages {
        match message.role {
            Role::System if message.content.is_empty() => {}
            Role::System => waiting.push(message.content.as_str()),
            Role::User => {
                waiting.push(&message.content);
                folded.push(user(std::mem::take(&mut waiting).join("\n\n")));
            }
            Role::Assistant => {
                if !waiting.is_empty() {
                    folded.push(user(std::mem::take(&mut waiting).join("\n\n")));
                }
                folded.push(message.clone());
            }
        }
    }
    if !waiting.is_empty() {
        folded.push(user(waiting.join("\n\n")));
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: &[(Role, &str)], expected: &[(Role, &str)]) {
        let messages = |all: &[(Role, &str)]| {
            let one = |(role, content): &(Role, &str)| Message {
                role: *role,
                content: content.to_string(),
            };
            all.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(folded(&messages(said)), messages(expected));
    }

    #[test]
    fn a_system_message_begins_the_next_user_message() {
        use Role::{Assistant, System, User};
        check(&[(System, "s"), (User, "u")], &[(User, "s\n\nu")]);
        check(&[(User, "u"), (Assistant, "a")], &[(User, "u"), (Assistant, "a")]);
        check(&[(System, ""), (User, "u")], &[(User, "u")]);
        check(&[(System, "s"), (System, "t"), (User, "u")], &[(User, "s\n\nt\n\nu")]);
        check(&[(System, "s"), (Assistant, "a")], &[(User, "s"), (Assistant, "a")]);
        check(&[(User, "u"), (System, "s")], &[(User, "u"), (User, "s")]);
        check(&[], &[]);
    }
}
