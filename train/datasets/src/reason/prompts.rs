//! Prompts for a teacher of reasoning.

use std::collections::BTreeMap;
use std::path::Path;

use fixfly_runtime::{Entry, Message, Role, code_block, sha256};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde::Serialize;

use crate::error::DatasetError;
use crate::row::{Line, Row};

macro_rules! prompt {
    ($name:literal, $about:literal) => {
        Entry {
            name: $name,
            about: $about,
            open: include_str!(concat!("../../prompts/", $name, ".jinja")),
        }
    };
}

/// Prompts that ask for a trace. The first is the paper's choice; the paper tried the
/// others and rejected them.
pub const ELICITATIONS: &[Entry<&str>] = &[
    prompt!("minimal", "task, faulty method, feedback, solution, an opening reasoning tag"),
    prompt!("explicit-priming", "minimal, with fixed first words of the reasoning"),
    prompt!("reflection", "what went wrong and what to avoid, with fixed first words"),
    prompt!("structured", "an analysis in Markdown with fixed headings"),
];

/// The prompt for rows without a faulty method.
const SINGLE_TURN: Entry<&str> = prompt!("single-turn", "task, solution, an opening reasoning tag");
const COMPRESS: Entry<&str> = prompt!("compress", "a shorter trace of the same logic and style");

/// The prompts, checked when loaded.
pub struct Prompts {
    environment: Environment<'static>,
    texts: BTreeMap<String, String>,
}

/// The parts of a row that the prompts use.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Question {
    /// The system message of the row.
    #[serde(skip)]
    pub system: String,
    /// The task, as the student sees it.
    pub task: String,
    /// The failed attempts.
    pub attempts: Vec<Failed>,
    /// The code of the answer.
    pub solution: String,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failed {
    /// Its code.
    pub code: String,
    /// The feedback of its tests.
    pub feedback: String,
}

impl Question {
    /// Extracts the parts from a row.
    pub fn of(row: &Row) -> Self {
        let said = |role| row.messages.iter().filter(move |line| line.role == role);
        let text = |line: Option<&Line>| line.map_or("", |line| &line.content).to_string();
        let code = |text: &str| code_block(text).trim_end().to_string();
        let mut own: Vec<_> = said(Role::Assistant).map(|line| code(&line.content)).collect();
        let solution = own.pop().unwrap_or_default();
        let feedback = said(Role::User).skip(1).map(|line| line.content.trim().to_string());
        let attempts = own.into_iter().zip(feedback);
        Question {
            system: text(said(Role::System).next()),
            task: text(said(Role::User).next()).trim().to_string(),
            attempts: attempts.map(|(code, feedback)| Failed { code, feedback }).collect(),
            solution,
        }
    }
}

impl Prompts {
    /// The built-in prompts. Files in `folder` replace those of the same name, such as
    /// `minimal.jinja`.
    ///
    /// # Errors
    /// [`DatasetError::Input`] if a file is not a template or uses a name that does not
    /// exist.
    pub fn load(folder: Option<&Path>) -> Result<Self, DatasetError> {
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(DatasetError::Input(format!("{} is not a folder", folder.display())));
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder().trim_blocks(true).keep_trailing_newline(true).build();
        environment.set_syntax(syntax.unwrap_or_else(|e| unreachable!("default delimiters: {e}")));
        let mut texts = BTreeMap::new();
        for entry in ELICITATIONS.iter().chain([&SINGLE_TURN, &COMPRESS]) {
            let file = folder.map(|folder| folder.join(format!("{}.jinja", entry.name)));
            let own = file.filter(|file| file.exists());
            let text = match &own {
                Some(file) => {
                    fixfly_runtime::read_text(file).map_err(DatasetError::io("read", file))?
                }
                None => entry.open.to_string(),
            };
            let shown = own.map_or(entry.name.to_string(), |file| file.display().to_string());
            let wrong = |e: minijinja::Error| {
                let why = format!("{e:#}");
                let why = why.lines().next().unwrap_or_default();
                DatasetError::Input(format!("{shown}: {why}"))
            };
            environment.add_template_owned(entry.name, text.clone()).map_err(wrong)?;
            for attempts in [0, 1] {
                try_out(&environment, entry.name, attempts).map_err(wrong)?;
            }
            texts.insert(entry.name.to_string(), text);
        }
        Ok(Prompts { environment, texts })
    }

    /// The name of the prompt for a question: `name` if it has a failed attempt.
    pub fn of_question<'a>(&self, name: &'a str, question: &Question) -> &'a str {
        if question.attempts.is_empty() { SINGLE_TURN.name } else { name }
    }

    /// SHA-256 of a prompt's text.
    pub fn hash(&self, name: &str) -> String {
        sha256(self.texts.get(name).map_or("", String::as_str).as_bytes())
    }

    /// The conversation that requests a trace.
    pub fn elicit(&self, name: &str, question: &Question) -> Vec<Message> {
        let text = self.fill(self.of_question(name, question), Value::from(Serde(question)));
        let mut said = vec![Message { role: Role::User, content: text }];
        if !question.system.is_empty() {
            said.insert(0, Message { role: Role::System, content: question.system.clone() });
        }
        said
    }

    /// The conversation that requests a shorter trace. `before` is the number of tokens of
    /// an earlier answer.
    pub fn compress(&self, reasoning: &str, most: usize, before: Option<usize>) -> Vec<Message> {
        let reasoning = reasoning.trim();
        let context = context! { reasoning, most_tokens => most, before };
        let text = self.fill(COMPRESS.name, context);
        vec![Message { role: Role::User, content: text }]
    }

    fn fill(&self, name: &str, context: Value) -> String {
        let template = self.environment.get_template(name);
        template
            .and_then(|template| template.render(context))
            .unwrap_or_else(|e| panic!("the prompt {name} was tried out when loaded: {e:#}"))
    }
}

fn try_out(
    environment: &Environment<'_>,
    name: &str,
    attempts: usize,
) -> Result<(), minijinja::Error> {
    let failed = vec![context! { code => "x", feedback => "x" }; attempts];
    let before = (attempts > 0).then_some(attempts);
    let context = context! {
        task => "x", attempts => failed, solution => "x", reasoning => "x", most_tokens => 1, before,
    };
    environment.get_template(name)?.render(context).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(attempts: usize) -> Question {
        let failed = Failed {
            code: "def area(self):\n    return 0".into(),
            feedback: "test_area FAILED: 0 != 4".into(),
        };
        Question {
            system: String::new(),
            task: "Write `Square.area`.".into(),
            attempts: vec![failed; attempts],
            solution: "def area(self):\n    return self.side ** 2".into(),
        }
    }

    #[test]
    fn prompts_are_what_they_are() {
        let prompts = Prompts::load(None).unwrap();
        let mut shown = String::new();
        for entry in ELICITATIONS {
            let said = &prompts.elicit(entry.name, &question(1))[0].content;
            shown += &format!("==== {}: {}\n{said}", entry.name, entry.about);
        }
        shown +=
            &format!("==== single-turn\n{}", prompts.elicit("minimal", &question(0))[0].content);
        let compress = |before| prompts.compress("Okay.\n", 300, before)[0].content.clone();
        shown += &format!("==== compress\n{}==== again\n{}", compress(None), compress(Some(412)));
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn a_prompt_of_ones_own_takes_the_place_of_fixflys() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("minimal.jinja");
        std::fs::write(&file, "{{ solution }}!").unwrap();
        let prompts = Prompts::load(Some(folder.path())).unwrap();
        let asked = prompts.elicit("minimal", &question(1)).remove(0).content;
        assert_eq!(asked, "def area(self):\n    return self.side ** 2!");
        assert_ne!(prompts.hash("minimal"), Prompts::load(None).unwrap().hash("minimal"));
        std::fs::write(&file, "{{ solutoin }}").unwrap();
        let error = Prompts::load(Some(folder.path())).err().unwrap().to_string();
        assert!(error.contains("minimal.jinja: ") && error.contains("undefined"), "{error}");
    }
}
