//! A message of a conversation, and the code in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::{Asked, method};

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// The role of the author.
    pub role: Role,
    /// The text.
    pub content: String,
}

/// The role of a message's author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The instructions.
    System,
    /// The task and the feedback.
    User,
    /// The policy. Only these messages carry loss.
    Assistant,
}

impl Role {
    /// Its name in chat templates.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// The code of an answer to a method task, as written: the last block that is Python and
/// defines something, otherwise the last block, otherwise the whole text.
///
/// ```
/// use fixfly_runtime::code_block;
/// assert_eq!(code_block("Sure:\n```python\ndef f(self):\n    pass\n```\n"), "def f(self):\n    pass\n");
/// assert_eq!(code_block("def f(self): pass"), "def f(self): pass");
/// ```
pub fn code_block(text: &str) -> &str {
    match method(text, &Asked::default()) {
        Ok(code) if code.found => &text[code.span],
        _ => last_block(text),
    }
}

/// The last block by fences alone, as earlier versions read every answer.
fn last_block(text: &str) -> &str {
    let mut fences = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            fences.push((at, at + line.len()));
        }
        at += line.len();
    }
    match fences.as_slice() {
        [] => text,
        [(_, start)] => &text[*start..],
        _ if fences.len().is_multiple_of(2) => {
            let [.., (_, start), (end, _)] = fences.as_slice() else { unreachable!("two fences") };
            &text[*start..*end]
        }
        [.., (_, start)] => &text[*start..],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(code_block(text), expected);
    }

    #[test]
    fn the_last_block_is_the_answer() {
        check("```\na\n```\nthen\n```python\nb\n```", "b\n");
        check("a\n", "a\n");
        check("cut off:\n```python\nb\n", "b\n");
        check("```\na\n```\ncut off:\n```python\nb\n", "b\n");
        check("", "");
    }

    #[test]
    fn a_method_is_the_answer_whatever_follows_it() {
        let method = "def f(self):\n    return 1\n";
        check(&format!("```python\n{method}```\nUsage:\n```\na.f()\n```"), method);
        check(&format!("Here:\n~~~py\n{method}~~~\n"), method);
        check("```\ndef f(:\n```\n```\na.f()\n```", "a.f()\n");
    }
}
