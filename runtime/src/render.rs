//! How an episode reads as a conversation: one function for inference and for
//! training, so that a student is trained on the bytes it will see.

use std::collections::BTreeMap;
use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::episode::Turn;
use crate::hash::hex;
use crate::history::{elided, shown};
use crate::task::{Issue, Method, Statement, Task};

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The instructions.
    System,
    /// The task and the feedback.
    User,
    /// The policy. Only its words carry loss.
    Assistant,
}

/// The wording of a conversation: Jinja templates, checked when loaded.
#[derive(Clone, Debug)]
pub struct Templates {
    environment: Environment<'static>,
    /// SHA-256 of the three texts, hexadecimal; recorded with every run.
    pub hash: String,
}

/// A template that cannot be used: names the file, the place and the fault.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(pub(crate) String);

/// What a conversation is about, which decides what its templates may name.
#[derive(Clone, Copy)]
enum About {
    Method,
    Issue,
}

impl About {
    /// Fixfly's own wording.
    fn built_in(self) -> [(&'static str, &'static str); 3] {
        match self {
            About::Method => [
                ("system", include_str!("../prompts/system.jinja")),
                ("first", include_str!("../prompts/first.jinja")),
                ("later", include_str!("../prompts/later.jinja")),
            ],
            About::Issue => [
                ("system", include_str!("../prompts/issue/system.jinja")),
                ("first", include_str!("../prompts/issue/first.jinja")),
                ("later", include_str!("../prompts/issue/later.jinja")),
            ],
        }
    }
}

impl Templates {
    /// Fixfly's own wording for methods, each of `system.jinja`, `first.jinja` and
    /// `later.jinja` replaced where `folder` holds a file of that name.
    ///
    /// # Errors
    /// [`TemplateError`] where a file cannot be read, is not a template or
    /// uses a name that does not exist.
    pub fn load(folder: Option<&Path>) -> Result<Self, TemplateError> {
        Self::about(About::Method, folder)
    }

    /// As [`Templates::load`], for issues.
    ///
    /// # Errors
    /// As there.
    pub fn for_issues(folder: Option<&Path>) -> Result<Self, TemplateError> {
        Self::about(About::Issue, folder)
    }

    fn about(about: About, folder: Option<&Path>) -> Result<Self, TemplateError> {
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(TemplateError(format!("{}: not a folder", folder.display())));
        }
        Self::of(about, |name, built_in| {
            let file = folder.map(|folder| folder.join(format!("{name}.jinja")));
            let shown = file.as_ref().map(|file| file.display().to_string());
            let text = match &file {
                Some(file) if file.exists() => std::fs::read_to_string(file)
                    .map_err(|e| TemplateError(format!("{}: {e}", file.display())))?,
                _ => built_in.to_string(),
            };
            Ok((shown.unwrap_or(format!("{name}.jinja")), text))
        })
    }

    /// The wording that a run recorded.
    ///
    /// # Errors
    /// [`TemplateError`] where a text is missing or is not a template.
    pub fn recorded(texts: &BTreeMap<String, String>) -> Result<Self, TemplateError> {
        let of = |about| {
            Self::of(about, |name, _| match texts.get(name) {
                Some(text) => Ok((format!("the recorded {name}.jinja"), text.clone())),
                None => Err(TemplateError(format!("the run recorded no {name}.jinja"))),
            })
        };
        // A run does not say which it is of, but its texts name other things.
        of(About::Method).or_else(|error| of(About::Issue).map_err(|_| error))
    }

    /// Each template by what it is called in an error and its text.
    fn of(
        about: About,
        texts: impl Fn(&str, &str) -> Result<(String, String), TemplateError>,
    ) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .build()
                .unwrap_or_else(|e| unreachable!("default delimiters are valid: {e}")),
        );
        let mut hasher = Sha256::new();
        for (name, built_in) in about.built_in() {
            let (shown, text) = texts(name, built_in)?;
            hasher.update(text.as_bytes());
            hasher.update([0]);
            environment
                .add_template_owned(name, text)
                .map_err(|e| TemplateError(format!("{shown}: {e:#}")))?;
            try_out(&environment, about, name)
                .map_err(|e| TemplateError(format!("{shown}: {e:#}")))?;
        }
        let hash = hex(hasher.finalize());
        Ok(Templates { environment, hash })
    }

    /// The texts, by name; recorded with every run.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let templates = self.environment.templates();
        templates.map(|(name, text)| (name.to_string(), text.source().to_string())).collect()
    }

    fn fill(&self, name: &str, context: minijinja::Value) -> String {
        fill(&self.environment, name, context)
            .unwrap_or_else(|e| panic!("template {name} was tried out when loaded: {e:#}"))
    }
}

fn fill(
    environment: &Environment<'_>,
    name: &str,
    context: minijinja::Value,
) -> Result<String, minijinja::Error> {
    Ok(environment.get_template(name)?.render(context)?.trim_end().to_string())
}

/// Renders with every name that will be there, so that a fault in a user's
/// template is found before the first episode.
fn try_out(
    environment: &Environment<'_>,
    about: About,
    name: &str,
) -> Result<(), minijinja::Error> {
    for some in ["", "x"] {
        let method = context! {
            name => some, class_name => some, declaration => some, description => some,
            decorators => Vec::<String>::new(), file => some, content => some, faulty => some,
        };
        let context = match (name, about) {
            ("later", _) => context! { change => some, observation => some },
            (_, About::Method) => method,
            (_, About::Issue) => context! {
                repo => some, version => some, text => some, root => some, manual => some,
            },
        };
        fill(environment, name, context)?;
    }
    Ok(())
}

/// The conversation of `turns` on `task`: system, task, then the policy's
/// words and the world's answer for each turn.
pub fn render(task: &Task, turns: &[Turn], templates: &Templates) -> Vec<Message> {
    match &task.statement {
        Statement::Method(method) => on_method(method, turns, templates),
        Statement::Issue(issue) => on_issue(issue, turns, templates),
    }
}

/// Earlier observations may be left out, and words that asked for nothing.
fn on_issue(issue: &Issue, turns: &[Turn], templates: &Templates) -> Vec<Message> {
    let Issue { repo, version, text, root, manual, history } = issue;
    let context = context! { repo, version, text, root, manual };
    let say = |role, content| Message { role, content };
    let mut messages = vec![
        say(Role::System, templates.fill("system", context.clone())),
        say(Role::User, templates.fill("first", context)),
    ];
    let turns = shown(turns);
    for (turn, whole) in turns.iter().zip(history.whole(&turns)) {
        messages.push(say(Role::Assistant, turn.action.text.clone()));
        let observation = &turn.observation.text;
        let observation = if whole { observation.clone() } else { elided(observation) };
        let context = context! { change => turn.feedback.message.as_str(), observation };
        messages.push(say(Role::User, templates.fill("later", context)));
    }
    messages
}

fn on_method(method: &Method, turns: &[Turn], templates: &Templates) -> Vec<Message> {
    let context = context! {
        faulty => method.faulty.as_deref().unwrap_or_default(),
        ..minijinja::Value::from(minijinja::value::Serde(method))
    };
    let say = |role, content| Message { role, content };
    let mut messages = vec![
        say(Role::System, templates.fill("system", context.clone())),
        say(Role::User, templates.fill("first", context)),
    ];
    for turn in turns {
        messages.push(say(Role::Assistant, turn.action.text.clone()));
        let context = context! {
            change => turn.feedback.message.as_str(),
            observation => turn.observation.text.as_str(),
        };
        messages.push(say(Role::User, templates.fill("later", context)));
    }
    messages
}

/// The code of an answer: its last fenced block, or all of it where there is
/// no fence. What a method-level policy's words are read for.
///
/// ```
/// use fixfly_runtime::code_block;
/// assert_eq!(code_block("Sure:\n```python\ndef f(self):\n    pass\n```\n"), "def f(self):\n    pass\n");
/// assert_eq!(code_block("def f(self): pass"), "def f(self): pass");
/// ```
pub fn code_block(text: &str) -> &str {
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
    fn a_recorded_wording_is_the_one_that_was_loaded() {
        let loaded = Templates::load(None).unwrap();
        let recorded = Templates::recorded(&loaded.texts()).unwrap();
        assert_eq!((recorded.hash, recorded.environment.templates().count()), (loaded.hash, 3));
        let error = Templates::recorded(&BTreeMap::new()).unwrap_err().to_string();
        assert_eq!(error, "the run recorded no system.jinja");
    }

    #[test]
    fn a_fault_in_a_template_is_found_when_it_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("first.jinja"), "{{ nmae }}").unwrap();
        let error = Templates::load(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("first.jinja"), "{error}");
        assert!(error.contains("undefined"), "{error}");
        std::fs::write(folder.path().join("first.jinja"), "{% if %}").unwrap();
        let error = Templates::load(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("first:1"), "{error}");
    }
}
