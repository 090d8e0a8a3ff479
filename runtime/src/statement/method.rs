//! Method tasks: the prompt shows the surrounding code, and tests run on every answer.

use minijinja::{Value, context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::{FaultOptions, FeedbackForm};
use super::{Asks, Kind};
use crate::feedback::{changes, ran_before};
use crate::templates::Prompts;
use crate::test_report::TestDelta;
use crate::turn::{Call, Observation, Turn};

pub(super) const KIND: Kind = Kind {
    schema: 1,
    turns: 5,
    malformed: None,
    earlier_prompts: &[
        "d9545424da609d7687d832da9f55259a2a6d5c9965b6dc3f996cfdc0f04d815c",
        "98ac4a0024e5220d4f095b7beeb2a34a3f6f6dd7cd86f3963153eb99128196a3",
        "f7b449859d01e99887bebd129aaaf57fe7b80d2ece35a2c25c883f855f388794",
    ],
    prompts: Prompts {
        texts: [
            ("system", include_str!("../../prompts/system.jinja")),
            ("first", include_str!("../../prompts/first.jinja")),
            ("later", include_str!("../../prompts/later.jinja")),
        ],
        sample: |some| {
            let method = Method {
                file: some.into(),
                class_name: some.into(),
                name: some.into(),
                declaration: some.into(),
                decorators: Vec::new(),
                description: some.into(),
                described_by: DescribedBy::Nothing,
                content: some.into(),
                faulty: Some(some.into()),
                options: FaultOptions::default(),
            };
            method.context()
        },
    },
};

/// A method to write, as the policy sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Method {
    /// Path of the file, relative to the root of the repository.
    pub file: String,
    /// The class, qualified within its module: `Outer.Inner`.
    pub class_name: String,
    /// The method's name.
    pub name: String,
    /// The declaration without decorators, up to and including the colon.
    pub declaration: String,
    /// The method's decorators, which stay in the file, as written.
    pub decorators: Vec<String>,
    /// What the method does.
    pub description: String,
    /// The source of the description.
    pub described_by: DescribedBy,
    /// The file's text without the method; empty if it is not shown.
    pub content: String,
    /// The current method, dedented, if it exists and is faulty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faulty: Option<String>,
    /// Options of a task with a faulty method.
    #[serde(default, skip_serializing_if = "FaultOptions::is_default")]
    pub options: FaultOptions,
}

/// Sources of a method's description, best first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DescribedBy {
    /// The method's own docstring.
    Docstring,
    /// The project's reference documentation.
    Reference,
    /// The docstring or the reference documentation of the method that it overrides.
    Overridden,
    /// The docstring of the class.
    Class,
    /// None: there are only the name and the surrounding code.
    Nothing,
}

impl Asks for Method {
    fn context(&self) -> Value {
        context! {
            faulty => self.faulty.as_deref().unwrap_or_default(),
            edit => Value::from(minijinja::value::Serde(&self.options.edit)),
            ..Value::from(minijinja::value::Serde(self))
        }
    }

    fn message(
        &self,
        delta: &TestDelta,
        turns: &[Turn],
        call: &Call,
        observation: &Observation,
    ) -> String {
        let compared = observation.tests.is_some() && ran_before(turns);
        let changes = match self.options.feedback {
            FeedbackForm::Full if compared => changes(delta, usize::MAX),
            _ => String::new(),
        };
        let changes = (!changes.is_empty()).then(|| format!("Since the last attempt: {changes}."));
        let parts: Vec<_> = self.options.mention(turns, call).into_iter().chain(changes).collect();
        parts.join(" ")
    }

    fn feedback_form(&self) -> FeedbackForm {
        self.options.feedback
    }
}
