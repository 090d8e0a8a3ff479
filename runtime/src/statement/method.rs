//! Method tasks: write a method of a class or a function of a file. The prompt shows the
//! surrounding code, and tests run on every answer.

use minijinja::{Value, context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::{FaultOptions, FeedbackForm};
use super::{Asks, Kind};
use crate::feedback::{Earlier, changes};
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
        sample: |some| sample(some).context(),
    },
};

/// A method whose texts are all `some`.
pub(super) fn sample(some: &str) -> Method {
    Method {
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
    }
}

/// A method or a function to write, as the policy sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Method {
    /// Path of the file, relative to the root of the repository.
    pub file: String,
    /// The class, qualified within its module: `Outer.Inner`; empty for a function.
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

impl Method {
    /// Whether it is a function of the file, not a method of a class.
    pub fn is_function(&self) -> bool {
        self.class_name.is_empty()
    }

    /// `method` or `function`.
    pub fn noun(&self) -> &'static str {
        if self.is_function() { "function" } else { "method" }
    }
}

/// What tests changed since the last answer that ran tests.
pub(super) fn since_last(
    delta: &TestDelta,
    earlier: &Earlier,
    observation: &Observation,
) -> Option<String> {
    let compared = observation.tests.is_some() && earlier.ran_tests();
    let changes = if compared { changes(delta, usize::MAX) } else { String::new() };
    (!changes.is_empty()).then(|| format!("Since the last attempt: {changes}."))
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
        (_, earlier): (&[Turn], &Earlier),
        call: &Call,
        observation: &Observation,
    ) -> String {
        let changes = match self.options.feedback {
            FeedbackForm::Full => since_last(delta, earlier, observation),
            FeedbackForm::None => None,
        };
        let parts: Vec<_> =
            self.options.mention(earlier, call).into_iter().chain(changes).collect();
        parts.join(" ")
    }

    fn compares_answers(&self) -> bool {
        self.options.mention_repeats
    }

    fn feedback_form(&self) -> FeedbackForm {
        self.options.feedback
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::{Statement, TaskKind};
    use crate::templates::Templates;
    use crate::turn::{Action, Feedback, Outcome, Timings, Usage};

    /// The conversation about a function after one answer, without the answer.
    fn conversation(faulty: Option<&str>) -> String {
        let method = Method {
            file: "shop/prices.py".into(),
            class_name: String::new(),
            name: "total".into(),
            declaration: "def total(prices):".into(),
            decorators: vec!["@cache".into()],
            description: "Adds prices.".into(),
            described_by: DescribedBy::Docstring,
            content: "from functools import cache\n".into(),
            faulty: faulty.map(String::from),
            options: FaultOptions::default(),
        };
        assert_eq!((method.is_function(), method.noun()), (true, "function"));
        let statement = Statement::Method(method);
        let templates = Templates::load(TaskKind::Method, None).unwrap();
        let turn = Turn {
            action: Action {
                text: "```python\ndef total(prices): pass\n```".into(),
                reasoning: None,
                call: Call::Submit,
                usage: Usage::default(),
                generation: None,
            },
            observation: Observation::new(Outcome::Failed, "1 of 1 tests fails."),
            feedback: Feedback {
                delta: TestDelta::default(),
                left: statement.budget(),
                message: String::new(),
            },
            timings: Timings::default(),
        };
        let mut messages = statement.messages(&[turn], &templates);
        messages.remove(2);
        let texts: Vec<_> = messages.into_iter().map(|message| message.content).collect();
        texts.join("\n---\n")
    }

    #[test]
    fn a_function_is_asked_for_as_one_of_its_file() {
        insta::assert_snapshot!(conversation(None), @r"
    You write Python functions for an existing project. Answer with exactly one code block:
    ```python
    CODE
    ```
    You may think before you write. The block holds the one function that is asked for, from its `def` line on: no decorators, no example of its use.
    ---
    Write the function `total` of the file `shop/prices.py`, and nothing else of the file.
    Begin with its declaration, `def total(prices):`.

    Description:

    Function declaration:
    ```python
    def total(prices):
    ```
    Decorators that already stand above it: @cache
    Function description:
    Adds prices.

    File `shop/prices.py`, with the function taken out:
    ```python
    from functools import cache

    ```
    ---
    Fix the answer: it did not pass.
    TEST_RESULT:
    1 of 1 tests fails.
    ");
    }

    #[test]
    fn a_faulty_function_is_shown_as_one_of_its_file() {
        insta::assert_snapshot!(conversation(Some("def total(prices):\n    return 0")), @r"
    You write Python functions for an existing project. Answer with exactly one code block:
    ```python
    CODE
    ```
    You may think before you write. The block holds a change of one line, or the one function that is asked for, from its `def` line on: no decorators, no example of its use.
    ---
    The function `total` of the file `shop/prices.py` has one fault, and its tests fail. Fix it.
    Answer with the whole function, or with the line at fault and that line as it should be:
    ```python
    - LINE
    + LINE
    ```

    Function description:
    Adds prices.

    The function as it stands:
    ```python
    def total(prices):
        return 0
    ```

    File `shop/prices.py`, with the function taken out:
    ```python
    from functools import cache

    ```
    ---
    Fix the answer: it did not pass.
    TEST_RESULT:
    1 of 1 tests fails.
    ");
    }
}
