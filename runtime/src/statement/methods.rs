//! Tasks of several functions and methods of one file: all are written in one answer, and
//! tests run on all of them together.

use minijinja::{Value, context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::method::{Method, sample, since_last};
use super::{Asks, Kind};
use crate::feedback::Earlier;
use crate::templates::Prompts;
use crate::test_report::TestDelta;
use crate::turn::{Call, Observation, Turn};

pub(super) const KIND: Kind = Kind {
    schema: 3,
    turns: 5,
    malformed: None,
    earlier_prompts: &[],
    prompts: Prompts {
        texts: [
            ("system", include_str!("../../prompts/methods/system.jinja")),
            ("first", include_str!("../../prompts/methods/first.jinja")),
            ("later", include_str!("../../prompts/later.jinja")),
        ],
        sample: |some| {
            JointMethods { methods: vec![sample(some), sample(some)], content: some.into() }
                .context()
        },
    },
};

/// Several functions and methods of one file to write, as the policy sees them. Their names
/// differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JointMethods {
    /// Each of them, in the order of the file; their `content` is empty.
    pub methods: Vec<Method>,
    /// The file's text without all of them; empty if it is not shown.
    pub content: String,
}

impl Asks for JointMethods {
    fn context(&self) -> Value {
        context! {
            file => self.methods.first().map_or("", |method| &method.file),
            ..Value::from(minijinja::value::Serde(self))
        }
    }

    fn message(
        &self,
        delta: &TestDelta,
        (_, earlier): (&[Turn], &Earlier),
        _: &Call,
        observation: &Observation,
    ) -> String {
        since_last(delta, earlier, observation).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::{DescribedBy, FaultOptions, Statement, TaskKind};
    use crate::templates::Templates;

    fn method(class_name: &str, declaration: &str, decorators: &[&str]) -> Method {
        let name = declaration.split_once("def ").unwrap().1.split_once('(').unwrap().0;
        Method {
            file: "shop/prices.py".into(),
            class_name: class_name.into(),
            name: name.into(),
            declaration: declaration.into(),
            decorators: decorators.iter().map(ToString::to_string).collect(),
            description: format!("Describes {name}."),
            described_by: DescribedBy::Docstring,
            content: String::new(),
            faulty: None,
            options: FaultOptions::default(),
        }
    }

    #[test]
    fn all_are_asked_for_in_one_answer() {
        let methods = vec![
            method("Price", "def euros(self, cents):", &["@euros.setter"]),
            method("", "async def total(prices):", &[]),
        ];
        let content = "class Price:\n    ...\n".into();
        let statement = Statement::Methods(JointMethods { methods, content });
        assert_eq!((statement.schema(), statement.names()), (3, vec!["euros", "total"]));
        let templates = Templates::load(TaskKind::Methods, None).unwrap();
        let messages = statement.messages(&[], &templates);
        let texts: Vec<_> = messages.into_iter().map(|message| message.content).collect();
        insta::assert_snapshot!(texts.join("\n---\n"));
    }
}
