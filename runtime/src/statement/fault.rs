//! Options of tasks that show a faulty method: how it may be changed, and what the policy
//! is told after an answer that did not pass.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::EditForm;
use crate::turn::{Call, Turn};

/// Options of tasks that show a faulty method. The defaults are not recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FaultOptions {
    /// What a change may remove.
    #[serde(skip_serializing_if = "EditForm::is_line")]
    pub edit: EditForm,
    /// What follows an answer that did not pass.
    #[serde(skip_serializing_if = "FeedbackForm::is_full")]
    pub feedback: FeedbackForm,
    /// Whether the feedback mentions that an answer repeats an earlier one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mention_repeats: bool,
}

/// What follows an answer that did not pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeedbackForm {
    /// The observation, and what changed since the last turn.
    #[default]
    Full,
    /// Only that it did not pass: a control.
    None,
}

impl FeedbackForm {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_full(&self) -> bool {
        *self == FeedbackForm::Full
    }
}

impl FromStr for FeedbackForm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "full" => Ok(FeedbackForm::Full),
            "none" => Ok(FeedbackForm::None),
            _ => Err("expected one of: full, none".into()),
        }
    }
}

impl FaultOptions {
    /// The flag of the first option that is not the default.
    pub(crate) fn first_set(&self) -> Option<&'static str> {
        let set = [
            ("--edit", self.edit != EditForm::Line),
            ("--feedback", self.feedback != FeedbackForm::Full),
            ("--mention-repeats", self.mention_repeats),
        ];
        set.iter().find(|(_, is)| *is).map(|(flag, _)| *flag)
    }

    /// Whether all are the defaults.
    pub(crate) fn is_default(&self) -> bool {
        self.first_set().is_none()
    }

    /// The sentence about an answer that repeats one of these turns, if it is wanted.
    pub(super) fn mention(&self, turns: &[Turn], call: &Call) -> Option<String> {
        let code = call.code().filter(|_| self.mention_repeats)?;
        let first = turns.iter().position(|turn| turn.action.call.code() == Some(code))?;
        Some(format!("This is your answer of turn {} again; give another one.", first + 1))
    }
}
