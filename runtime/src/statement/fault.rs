//! Options of tasks that show a faulty method: how an answer may change it, and what the
//! feedback contains after an answer that did not pass.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::EditForm;
use crate::feedback::Earlier;
use crate::turn::Call;

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

    /// The sentence about an answer that repeats one of the earlier turns, if it is wanted.
    pub(super) fn mention(&self, earlier: &Earlier, call: &Call) -> Option<String> {
        let code = call.code().filter(|_| self.mention_repeats)?;
        let first = earlier.answered(code)?;
        Some(format!("This is your answer of turn {} again; give another one.", first + 1))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::budget::Budget;
    use crate::message::Role;
    use crate::statement::{DescribedBy, Method, Statement, TaskKind};
    use crate::templates::Templates;
    use crate::test_report::TestDelta;
    use crate::turn::{Action, Observation, Outcome, Timings, Turn, Usage};

    fn statement(options: FaultOptions) -> Statement {
        Statement::Method(Method {
            file: "a.py".into(),
            class_name: "A".into(),
            name: "f".into(),
            declaration: "def f(self):".into(),
            decorators: Vec::new(),
            description: "Adds.".into(),
            described_by: DescribedBy::Docstring,
            content: String::new(),
            faulty: Some("def f(self):\n    return 1\n".into()),
            options,
        })
    }

    fn submit(code: &str) -> Call {
        Call::Tool { name: "submit_method".into(), args: json!({ "code": code }) }
    }

    /// The turns after these answers, none of which passed.
    fn turns(statement: &Statement, answers: &[&str]) -> Vec<Turn> {
        let mut turns: Vec<Turn> = Vec::new();
        for answer in answers {
            let (call, observation) =
                (submit(answer), Observation::new(Outcome::Failed, "1 fails"));
            let left = Budget { turns: 1, tokens: None, seconds: None, usd: None };
            let feedback = statement.feedback(&turns, &call, &observation, left);
            let (text, reasoning, usage) = ((*answer).to_string(), None, Usage::default());
            let action = Action { text, reasoning, call, usage, generation: None };
            turns.push(Turn { action, observation, feedback, timings: Timings::default() });
        }
        turns
    }

    /// The last message of the user after these answers.
    fn last(options: FaultOptions, answers: &[&str]) -> String {
        let statement = statement(options);
        let templates = Templates::load(TaskKind::Method, None).unwrap();
        let mut messages = statement.messages(&turns(&statement, answers), &templates);
        messages.retain(|message| message.role == Role::User);
        messages.pop().unwrap().content
    }

    #[test]
    fn the_feedback_is_what_the_options_ask_for() {
        let (full, none) = (FeedbackForm::Full, FeedbackForm::None);
        let again = ["a", "b", " a\n"];
        let mention = "This is your answer of turn 1 again; give another one.";
        let result = "TEST_RESULT:\n1 fails";
        for (feedback, mention_repeats, answers, expected) in [
            (full, false, &again[..], format!("Fix the answer: it did not pass.\n{result}")),
            (full, true, &again, format!("Fix the answer: it did not pass.\n{mention}\n{result}")),
            (full, true, &again[..2], format!("Fix the answer: it did not pass.\n{result}")),
            (none, false, &again, "Fix the answer: it did not pass.".into()),
            (none, true, &again, format!("Fix the answer: it did not pass.\n{mention}")),
        ] {
            let options = FaultOptions { feedback, mention_repeats, ..FaultOptions::default() };
            assert_eq!(last(options, answers), expected, "{options:?} {answers:?}");
        }
    }

    #[test]
    fn a_custom_prompt_gets_no_result_without_feedback() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("later.jinja"), "{{ observation }}|{{ change }}")
            .unwrap();
        let templates = Templates::load(TaskKind::Method, Some(folder.path())).unwrap();
        let options = FaultOptions { feedback: FeedbackForm::None, ..FaultOptions::default() };
        let statement = statement(options);
        let messages = statement.messages(&turns(&statement, &["a"]), &templates);
        assert_eq!(messages.last().unwrap().content, "|");
    }

    #[test]
    fn a_failing_test_is_compared_only_in_full_feedback() {
        let method = |options| match statement(options) {
            Statement::Method(method) => method,
            Statement::Issue(_) | Statement::Methods(_) => unreachable!(),
        };
        let delta = TestDelta { fixed: vec!["test_a".into()], ..TestDelta::default() };
        let report = crate::TestReport::default();
        let observation =
            Observation { tests: Some(report), ..Observation::new(Outcome::Failed, "1 fails") };
        let turn = |options| {
            let mut turns = turns(&statement(options), &["a"]);
            turns[0].observation = observation.clone();
            turns
        };
        for (feedback, expected) in [
            (FeedbackForm::Full, "Since the last attempt: fixed 1: test_a."),
            (FeedbackForm::None, ""),
        ] {
            let options = FaultOptions { feedback, ..FaultOptions::default() };
            let turns = turn(options);
            let found = crate::statement::Asks::message(
                &method(options),
                &delta,
                (&turns, &Earlier::of(&turns, false)),
                &submit("b"),
                &observation,
            );
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_prompt_explains_parts_of_lines_only_where_they_are_allowed() {
        let text = last(FaultOptions { edit: EditForm::Text, ..FaultOptions::default() }, &[]);
        let added = "In place of that line you may give a part of it that occurs only once in the method.\n";
        assert!(text.contains(added), "{text}");
        assert_eq!(text.replace(added, ""), last(FaultOptions::default(), &[]));
        assert!(text.contains("+ LINE\n```\nIn place"), "{text}");
    }

    #[test]
    fn defaults_are_not_recorded() {
        let options = |value: Value| serde_json::from_value::<FaultOptions>(value).unwrap();
        for value in [
            json!({}),
            json!({ "edit": "text" }),
            json!({ "feedback": "none", "mention_repeats": true }),
        ] {
            assert_eq!(json!(options(value.clone())), value);
        }
        let recorded = json!(statement(FaultOptions::default()));
        assert!(recorded.get("options").is_none(), "{recorded}");
        assert_eq!(
            serde_json::from_value::<Statement>(recorded).unwrap(),
            statement(options(json!({})))
        );
        for (name, expected) in
            [("full", Ok(FeedbackForm::Full)), ("no", Err("expected one of: full, none"))]
        {
            assert_eq!(name.parse::<FeedbackForm>(), expected.map_err(String::from));
        }
        for (name, expected) in
            [("text", Ok(EditForm::Text)), ("part", Err("expected one of: line, text"))]
        {
            assert_eq!(name.parse::<EditForm>(), expected.map_err(String::from));
        }
    }
}
