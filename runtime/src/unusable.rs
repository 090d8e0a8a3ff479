//! Answers of models that are not usable.

use serde::{Deserialize, Serialize};

use crate::generation::Finish;
use crate::turn::{Action, Call};

/// Why an answer is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnusableReason {
    /// All of the text is reasoning.
    OnlyReasoning,
    /// There is no text.
    Empty,
    /// The limit of tokens cut it off.
    CutOff,
    /// A content filter of the server rejected it.
    Filtered,
    /// The first prompt does not fit into the model's context.
    PromptTooLong,
    /// The model failed before it answered.
    ModelFailed,
}

/// Why the answer of an action is not usable; `None` if it is, or if no model was asked.
pub(crate) fn unusable(action: &Action) -> Option<UnusableReason> {
    let generation = action.generation.as_ref()?;
    let finish = generation.finish;
    // What could be parsed was used, even if the rest was cut off.
    if matches!(action.call, Call::Tool { .. } | Call::Submit) {
        return None;
    }
    match finish {
        Finish::Length => Some(UnusableReason::CutOff),
        Finish::Filtered => Some(UnusableReason::Filtered),
        Finish::ToolCall | Finish::Refused => None,
        Finish::Stop if !action.text.trim().is_empty() => None,
        // Native calls that could not be read are an answer, as words are.
        Finish::Stop if !generation.native_calls.is_empty() => None,
        Finish::Stop => match action.reasoning.as_deref().unwrap_or_default().trim() {
            "" => Some(UnusableReason::Empty),
            _ => Some(UnusableReason::OnlyReasoning),
        },
    }
}
