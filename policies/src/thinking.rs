//! How a model is told, in its prompt, to reason first or to answer at once.

use fixfly_runtime::{Message, Role, Thinking, ThinkingMode, ThinkingSwitch};

/// The conversation with Qwen3's soft switch after the first user message,
/// where that is how the model is told. It stays there in later turns, so
/// that a prompt only grows.
pub(crate) fn told(mut messages: Vec<Message>, thinking: Thinking) -> Vec<Message> {
    let word = match (thinking.told_by, thinking.mode) {
        (ThinkingSwitch::Prompt, ThinkingMode::Think) => " /think",
        (ThinkingSwitch::Prompt, ThinkingMode::NoThink) => " /no_think",
        _ => return messages,
    };
    if let Some(first) = messages.iter_mut().find(|message| message.role == Role::User) {
        first.content.push_str(word);
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mode: ThinkingMode, told_by: ThinkingSwitch, expected: &str) {
        let say = |role, content: &str| Message { role, content: content.into() };
        let messages = vec![say(Role::System, "s"), say(Role::User, "u"), say(Role::User, "v")];
        let told = told(messages, Thinking { mode, told_by });
        let told: Vec<_> = told.iter().map(|message| message.content.as_str()).collect();
        assert_eq!(told, ["s", expected, "v"]);
    }

    #[test]
    fn the_soft_switch_follows_the_first_user_message() {
        check(ThinkingMode::Think, ThinkingSwitch::Prompt, "u /think");
        check(ThinkingMode::NoThink, ThinkingSwitch::Prompt, "u /no_think");
        check(ThinkingMode::NoThink, ThinkingSwitch::Template, "u");
        check(ThinkingMode::Unsaid, ThinkingSwitch::Prompt, "u");
    }
}
