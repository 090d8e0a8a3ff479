//! How a model is told, in words, to reason or not.

use fixfly_runtime::{Message, Role, Thinking, ThinkingMode, ThinkingSwitch};

/// The conversation as the model reads it: where the switch is in the words,
/// the first thing the user says ends in it.
pub(crate) fn told(mut messages: Vec<Message>, thinking: Thinking) -> Vec<Message> {
    let switch = match (thinking.told_by, thinking.mode) {
        (ThinkingSwitch::Prompt, ThinkingMode::Think) => " /think",
        (ThinkingSwitch::Prompt, ThinkingMode::NoThink) => " /no_think",
        _ => return messages,
    };
    if let Some(first) = messages.iter_mut().find(|message| message.role == Role::User) {
        first.content.push_str(switch);
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(told_by: ThinkingSwitch, mode: ThinkingMode, expected: [&str; 3]) {
        let say = |role, content: &str| Message { role, content: content.into() };
        let messages = vec![say(Role::System, "s"), say(Role::User, "a"), say(Role::User, "b")];
        let told = told(messages, Thinking { mode, told_by });
        let contents: Vec<_> = told.iter().map(|message| message.content.as_str()).collect();
        assert_eq!(contents, expected);
    }

    #[test]
    fn the_first_thing_the_user_says_ends_in_the_switch() {
        check(ThinkingSwitch::Prompt, ThinkingMode::Think, ["s", "a /think", "b"]);
        check(ThinkingSwitch::Prompt, ThinkingMode::NoThink, ["s", "a /no_think", "b"]);
        check(ThinkingSwitch::Prompt, ThinkingMode::Unsaid, ["s", "a", "b"]);
        check(ThinkingSwitch::Template, ThinkingMode::Think, ["s", "a", "b"]);
        check(ThinkingSwitch::None, ThinkingMode::NoThink, ["s", "a", "b"]);
    }
}
