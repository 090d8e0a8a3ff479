//! What a task asks for. Each kind of task is one file here, and so is all that
//! kinds differ in: the version of their episodes, their wording, what a policy
//! is shown again, their feedback and their usual limits.
//!
//! A new kind is a file with a `const KIND` and an [`Asks`], a variant of
//! [`Statement`] and of [`TaskKind`], and an arm in the matches of this file.

mod issue;
mod method;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use minijinja::{Value, context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::feedback::delta;
use crate::message::{Message, Role};
use crate::templates::{Prompts, TemplateError, Templates};
use crate::test_report::TestDelta;
use crate::turn::{Call, Feedback, Observation, Turn};

pub use issue::{History, Issue};
pub use method::{DescribedBy, Method};

/// What is asked, by kind of task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Statement {
    /// Write one method of a class.
    Method(Method),
    /// Resolve an issue of a repository.
    Issue(Issue),
}

/// A kind of task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Write one method of a class.
    Method,
    /// Resolve an issue of a repository.
    Issue,
}

/// What all tasks of a kind have in common.
struct Kind {
    /// Version of the JSON form of its episodes.
    schema: u32,
    /// Turns of an episode, where nobody chooses another number.
    turns: u32,
    /// Malformed answers in a row that end an episode; none where they only
    /// cost turns.
    malformed: Option<usize>,
    /// The built-in templates, and what they may name.
    prompts: Prompts,
    /// Hashes of the built-in templates of earlier versions.
    earlier_prompts: &'static [&'static str],
}

/// What a kind of task decides for itself.
trait Asks {
    /// What the templates `system` and `first` are filled with.
    fn context(&self) -> Value;

    /// What a policy is told after a call, beside the observation.
    fn message(
        &self,
        delta: &TestDelta,
        turns: &[Turn],
        call: &Call,
        observation: &Observation,
    ) -> String;

    /// The turns that the conversation shows.
    fn shown<'t>(&self, turns: &'t [Turn]) -> Vec<&'t Turn> {
        turns.iter().collect()
    }

    /// What the conversation shows of the observations of these turns.
    fn observations<'t>(&self, shown: &[&'t Turn]) -> Vec<Cow<'t, str>> {
        shown.iter().map(|turn| Cow::Borrowed(turn.observation.text.as_str())).collect()
    }
}

impl TaskKind {
    /// All of them, in the order they came.
    const ALL: [TaskKind; 2] = [TaskKind::Method, TaskKind::Issue];

    fn common(self) -> &'static Kind {
        match self {
            TaskKind::Method => &method::KIND,
            TaskKind::Issue => &issue::KIND,
        }
    }

    /// Turns of an episode, where nobody chooses another number.
    pub fn turns(self) -> u32 {
        self.common().turns
    }

    /// The newest version of the JSON form of episodes; a reader refuses a newer
    /// one.
    pub(crate) fn newest_schema() -> u32 {
        TaskKind::ALL.map(|kind| kind.common().schema).into_iter().max().unwrap_or_default()
    }
}

impl Statement {
    fn asks(&self) -> &dyn Asks {
        match self {
            Statement::Method(method) => method,
            Statement::Issue(issue) => issue,
        }
    }

    /// The kind of the task.
    pub fn kind(&self) -> TaskKind {
        match self {
            Statement::Method(_) => TaskKind::Method,
            Statement::Issue(_) => TaskKind::Issue,
        }
    }

    /// The method to write, where that is what is asked.
    pub fn method(&self) -> Option<&Method> {
        match self {
            Statement::Method(method) => Some(method),
            Statement::Issue(_) => None,
        }
    }

    /// The issue to resolve, where that is what is asked.
    pub fn issue(&self) -> Option<&Issue> {
        match self {
            Statement::Method(_) => None,
            Statement::Issue(issue) => Some(issue),
        }
    }

    /// Absolute path of the work tree inside the sandbox, where the task has one.
    pub fn work_tree(&self) -> Option<&str> {
        self.issue().map(|issue| issue.root.as_str())
    }

    /// Where the description of what is to be written comes from, where there is
    /// one.
    pub fn described_by(&self) -> Option<DescribedBy> {
        self.method().map(|method| method.described_by)
    }

    /// The text of the file that the policy is shown; empty where it is shown none.
    pub fn content(&self) -> &str {
        self.method().map_or("", |method| method.content.as_str())
    }

    /// Shows the policy another text of the file, where it is shown one.
    pub fn set_content(&mut self, content: String) {
        if let Statement::Method(method) = self {
            method.content = content;
        }
    }

    /// Version of the JSON form of the task's episodes.
    pub fn schema(&self) -> u32 {
        self.kind().common().schema
    }

    /// What an attempt may spend, where nobody chooses otherwise.
    pub fn budget(&self) -> Budget {
        Budget { turns: self.kind().turns(), tokens: None, seconds: None, usd: None }
    }

    /// Malformed answers in a row that end an episode; none where they only cost
    /// turns.
    pub fn malformed_limit(&self) -> Option<usize> {
        self.kind().common().malformed
    }

    /// The turns that the conversation shows, one for each of the policy's words in it.
    pub fn shown<'t>(&self, turns: &'t [Turn]) -> Vec<&'t Turn> {
        self.asks().shown(turns)
    }

    /// The conversation of `turns`: system, task, then the policy's words and the
    /// world's answer for each turn.
    pub fn messages(&self, turns: &[Turn], templates: &Templates) -> Vec<Message> {
        let (asks, say) = (self.asks(), |role, content| Message { role, content });
        let context = asks.context();
        let mut messages = vec![
            say(Role::System, templates.fill("system", context.clone())),
            say(Role::User, templates.fill("first", context)),
        ];
        let shown = asks.shown(turns);
        for (turn, observation) in shown.iter().zip(asks.observations(&shown)) {
            messages.push(say(Role::Assistant, turn.action.text.clone()));
            let change = turn.feedback.message.as_str();
            let context = context! { change, observation => observation.as_ref() };
            messages.push(say(Role::User, templates.fill("later", context)));
        }
        messages
    }

    /// Feedback on what `call` brought, after `turns`.
    pub fn feedback(
        &self,
        turns: &[Turn],
        call: &Call,
        observation: &Observation,
        left: Budget,
    ) -> Feedback {
        let delta = delta(turns, observation);
        let message = self.asks().message(&delta, turns, call, observation);
        Feedback { delta, left, message }
    }
}

impl TaskKind {
    /// Whether these are built-in templates of an earlier version, by their hash.
    pub(crate) fn had_prompts(self, hash: &str) -> bool {
        self.common().earlier_prompts.contains(&hash)
    }
}

impl Templates {
    /// Fixfly's own wording for a kind of task, each of `system.jinja`,
    /// `first.jinja` and `later.jinja` replaced where `folder` holds a file of that
    /// name.
    ///
    /// # Errors
    /// [`TemplateError`] where a file cannot be read, is not a template or
    /// uses a name that does not exist.
    pub fn load(kind: TaskKind, folder: Option<&Path>) -> Result<Self, TemplateError> {
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(TemplateError(format!("{}: not a folder", folder.display())));
        }
        Templates::of(&kind.common().prompts, |name, built_in| {
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
        let of = |kind: TaskKind| {
            Templates::of(&kind.common().prompts, |name, _| match texts.get(name) {
                Some(text) => Ok((format!("the recorded {name}.jinja"), text.clone())),
                None => Err(TemplateError(format!("the run recorded no {name}.jinja"))),
            })
        };
        // A run does not say which it is of, but its texts name other things.
        let [first, others @ ..] = TaskKind::ALL;
        of(first).or_else(|error| others.into_iter().find_map(|kind| of(kind).ok()).ok_or(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_wording_is_the_one_that_was_loaded() {
        for kind in TaskKind::ALL {
            let loaded = Templates::load(kind, None).unwrap();
            let recorded = Templates::recorded(&loaded.texts()).unwrap();
            assert_eq!((&recorded.hash, recorded.texts()), (&loaded.hash, loaded.texts()));
            assert_eq!(loaded.texts().len(), 3);
        }
        let error = Templates::recorded(&BTreeMap::new()).unwrap_err().to_string();
        assert_eq!(error, "the run recorded no system.jinja");
    }

    #[test]
    fn a_change_of_the_built_in_wording_adds_the_earlier_hash() {
        for (kind, expected) in [
            (TaskKind::Method, "98ac4a0024e5220d4f095b7beeb2a34a3f6f6dd7cd86f3963153eb99128196a3"),
            (TaskKind::Issue, "d2df79f6a84b5bcd497e4fd1a90f12651cf355391b6c9370acf5970f728757f1"),
        ] {
            let hash = Templates::load(kind, None).unwrap().hash;
            assert_eq!(hash, expected, "add {expected} to `earlier_prompts` of {kind:?}");
            assert!(!kind.had_prompts(&hash));
        }
    }

    #[test]
    fn a_fault_in_a_template_is_found_when_it_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let load = || Templates::load(TaskKind::Method, Some(folder.path()));
        std::fs::write(folder.path().join("first.jinja"), "{{ nmae }}").unwrap();
        let error = load().unwrap_err().to_string();
        assert!(error.contains("first.jinja"), "{error}");
        assert!(error.contains("undefined"), "{error}");
        std::fs::write(folder.path().join("first.jinja"), "{% if %}").unwrap();
        let error = load().unwrap_err().to_string();
        assert!(error.contains("first:1"), "{error}");
    }
}
