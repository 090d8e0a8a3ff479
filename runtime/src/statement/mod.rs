//! What a task asks for. Each kind of task is one file here, which contains all differences
//! between kinds: schema version, wording, shown history, feedback and default limits.
//!
//! To add a kind, write a file with a `const KIND` and an [`Asks`], a variant of
//! [`Statement`] and of [`TaskKind`], and an arm in each match of this file.

mod fault;
mod issue;
mod method;
mod methods;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use minijinja::{Value, context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::Asked;
use crate::budget::Budget;
use crate::feedback::Earlier;
use crate::message::{Message, Role};
use crate::templates::{Prompts, TemplateError, Templates};
use crate::test_report::TestDelta;
use crate::turn::{Call, Feedback, Observation, Turn};

pub use fault::{FaultOptions, FeedbackForm};
pub use issue::{History, Issue};
pub use method::{DescribedBy, Method};
pub use methods::JointMethods;

/// What a task asks for, by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Statement {
    /// Write one method of a class or one function of a file.
    Method(Method),
    /// Resolve an issue of a repository.
    Issue(Issue),
    /// Write several functions and methods of one file.
    Methods(JointMethods),
}

/// A kind of task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Write one method of a class or one function of a file.
    Method,
    /// Resolve an issue of a repository.
    Issue,
    /// Write several functions and methods of one file.
    Methods,
}

/// Values that all tasks of a kind share.
struct Kind {
    /// Schema version of its episodes.
    schema: u32,
    /// Default turn limit of an episode.
    turns: u32,
    /// The number of malformed answers in a row that ends an episode; if `None`, they only
    /// use up turns.
    malformed: Option<usize>,
    /// The built-in templates, and the variables that they may use.
    prompts: Prompts,
    /// Hashes of the built-in templates of earlier versions.
    earlier_prompts: &'static [&'static str],
}

/// Behaviour that differs between kinds of task.
trait Asks {
    /// Variables of the templates `system` and `first`.
    fn context(&self) -> Value;

    /// Text for the policy after a call, in addition to the observation.
    fn message(
        &self,
        delta: &TestDelta,
        before: (&[Turn], &Earlier),
        call: &Call,
        observation: &Observation,
    ) -> String;

    /// Whether the text depends on equal answers of earlier turns.
    fn compares_answers(&self) -> bool {
        false
    }

    /// What follows an answer that did not pass.
    fn feedback_form(&self) -> FeedbackForm {
        FeedbackForm::Full
    }

    /// The turns that the conversation shows.
    fn shown<'t>(&self, turns: &'t [Turn]) -> Vec<&'t Turn> {
        turns.iter().collect()
    }

    /// The text that the conversation shows for each observation of these turns.
    fn observations<'t>(&self, shown: &[&'t Turn]) -> Vec<Cow<'t, str>> {
        shown.iter().map(|turn| Cow::Borrowed(turn.observation.text.as_str())).collect()
    }
}

impl TaskKind {
    /// All kinds, oldest first.
    const ALL: [TaskKind; 3] = [TaskKind::Method, TaskKind::Issue, TaskKind::Methods];

    fn common(self) -> &'static Kind {
        match self {
            TaskKind::Method => &method::KIND,
            TaskKind::Issue => &issue::KIND,
            TaskKind::Methods => &methods::KIND,
        }
    }

    /// Default turn limit of an episode.
    pub fn turns(self) -> u32 {
        self.common().turns
    }

    /// The newest schema version of episodes. A reader rejects newer ones.
    pub(crate) fn newest_schema() -> u32 {
        TaskKind::ALL.map(|kind| kind.common().schema).into_iter().max().unwrap_or_default()
    }
}

impl Statement {
    fn asks(&self) -> &dyn Asks {
        match self {
            Statement::Method(method) => method,
            Statement::Issue(issue) => issue,
            Statement::Methods(methods) => methods,
        }
    }

    /// The kind of the task.
    pub fn kind(&self) -> TaskKind {
        match self {
            Statement::Method(_) => TaskKind::Method,
            Statement::Issue(_) => TaskKind::Issue,
            Statement::Methods(_) => TaskKind::Methods,
        }
    }

    /// The method to write, if this is a method task.
    pub fn method(&self) -> Option<&Method> {
        match self {
            Statement::Method(method) => Some(method),
            Statement::Issue(_) | Statement::Methods(_) => None,
        }
    }

    /// All functions and methods to write; none if this is an issue task.
    pub fn methods(&self) -> &[Method] {
        match self {
            Statement::Method(method) => std::slice::from_ref(method),
            Statement::Methods(JointMethods { methods, .. }) => methods,
            Statement::Issue(_) => &[],
        }
    }

    /// The names of all functions and methods to write.
    pub fn names(&self) -> Vec<&str> {
        self.methods().iter().map(|method| method.name.as_str()).collect()
    }

    /// What an answer in words has to contain.
    pub fn asked(&self) -> Asked<'_> {
        let change = self.method().is_some_and(|method| method.faulty.is_some());
        Asked { names: self.names(), change }
    }

    /// Sets the options of a task that shows a faulty method. Returns whether this is one.
    pub(crate) fn set_fault_options(&mut self, options: FaultOptions) -> bool {
        match self {
            Statement::Method(method) if method.faulty.is_some() => {
                method.options = options;
                true
            }
            _ => false,
        }
    }

    /// The issue to resolve, if this is an issue task.
    pub fn issue(&self) -> Option<&Issue> {
        match self {
            Statement::Issue(issue) => Some(issue),
            Statement::Method(_) | Statement::Methods(_) => None,
        }
    }

    /// Absolute path of the work tree inside the sandbox, if the task has one.
    pub fn work_tree(&self) -> Option<&str> {
        self.issue().map(|issue| issue.root.as_str())
    }

    /// The file of what is to write, if this is no issue task.
    pub fn file(&self) -> Option<&str> {
        self.methods().first().map(|method| method.file.as_str())
    }

    /// The source of the method's description, if this is no issue task; of several, the worst.
    pub fn described_by(&self) -> Option<DescribedBy> {
        self.methods().iter().map(|method| method.described_by).max()
    }

    /// The text of the file that the policy sees; empty if it sees none.
    pub fn content(&self) -> &str {
        match self {
            Statement::Method(Method { content, .. })
            | Statement::Methods(JointMethods { content, .. }) => content,
            Statement::Issue(_) => "",
        }
    }

    /// Replaces the text of the file that the policy sees, if it sees one.
    pub fn set_content(&mut self, new: String) {
        match self {
            Statement::Method(Method { content, .. })
            | Statement::Methods(JointMethods { content, .. }) => *content = new,
            Statement::Issue(_) => {}
        }
    }

    /// Schema version of the task's episodes.
    pub fn schema(&self) -> u32 {
        self.kind().common().schema
    }

    /// Default limits of an attempt.
    pub fn budget(&self) -> Budget {
        Budget { turns: self.kind().turns(), tokens: None, seconds: None, usd: None }
    }

    /// The number of malformed answers in a row that ends an episode; if `None`, they only
    /// use up turns.
    pub fn malformed_limit(&self) -> Option<usize> {
        self.kind().common().malformed
    }

    /// The turns that the conversation shows, one for each of the policy's messages.
    pub fn shown<'t>(&self, turns: &'t [Turn]) -> Vec<&'t Turn> {
        self.asks().shown(turns)
    }

    /// The conversation of `turns`: system prompt, task, then an answer and an observation
    /// for each turn.
    pub fn messages(&self, turns: &[Turn], templates: &Templates) -> Vec<Message> {
        let (asks, say) = (self.asks(), |role, content| Message { role, content });
        let context = asks.context();
        let mut messages = vec![
            say(Role::System, templates.fill("system", context.clone())),
            say(Role::User, templates.fill("first", context)),
        ];
        let shown = asks.shown(turns);
        let form = asks.feedback_form();
        let feedback = Value::from(minijinja::value::Serde(&form));
        for (turn, observation) in shown.iter().zip(asks.observations(&shown)) {
            messages.push(say(Role::Assistant, turn.action.text.clone()));
            let change = turn.feedback.message.as_str();
            // Custom templates may not read `feedback`.
            let observation = match form {
                FeedbackForm::Full => observation.as_ref(),
                FeedbackForm::None => "",
            };
            let context = context! { change, observation, feedback => feedback.clone() };
            messages.push(say(Role::User, templates.fill("later", context)));
        }
        messages
    }

    /// Feedback on the result of `call`, which follows `turns`.
    pub fn feedback(
        &self,
        turns: &[Turn],
        call: &Call,
        observation: &Observation,
        left: Budget,
    ) -> Feedback {
        self.feedback_after((turns, &self.earlier(turns)), call, observation, left)
    }

    /// The same, if what feedback needs of the earlier turns is known.
    pub(crate) fn feedback_after(
        &self,
        before: (&[Turn], &Earlier),
        call: &Call,
        observation: &Observation,
        left: Budget,
    ) -> Feedback {
        let (turns, earlier) = before;
        let delta = earlier.delta(turns, observation);
        let message = self.asks().message(&delta, before, call, observation);
        Feedback { delta, left, message }
    }

    /// What feedback on the turn after these needs of them.
    pub(crate) fn earlier(&self, turns: &[Turn]) -> Earlier {
        Earlier::of(turns, self.asks().compares_answers())
    }
}

impl TaskKind {
    /// Whether these are built-in templates of an earlier version, by their hash.
    pub(crate) fn had_prompts(self, hash: &str) -> bool {
        self.common().earlier_prompts.contains(&hash)
    }
}

impl Templates {
    /// Checks what can be known of a folder before the kind of the tasks is.
    ///
    /// # Errors
    /// [`TemplateError`] if it is not a folder.
    pub fn check_folder(folder: Option<&Path>) -> Result<(), TemplateError> {
        match folder.filter(|folder| !folder.is_dir()) {
            Some(folder) => Err(TemplateError(format!("{} is not a folder", folder.display()))),
            None => Ok(()),
        }
    }

    /// The built-in wording of a kind of task. Files `system.jinja`, `first.jinja` and
    /// `later.jinja` in `folder` replace the templates of the same name.
    ///
    /// # Errors
    /// [`TemplateError`] if a file cannot be read, is not a template or uses a name that
    /// does not exist.
    pub fn load(kind: TaskKind, folder: Option<&Path>) -> Result<Self, TemplateError> {
        Templates::check_folder(folder)?;
        Templates::of(&kind.common().prompts, |name, built_in| {
            let file = folder.map(|folder| folder.join(format!("{name}.jinja")));
            let shown = file.as_ref().map(|file| file.display().to_string());
            let text = match &file {
                Some(file) if file.exists() => crate::text::read_text(file)
                    .map_err(|e| TemplateError(format!("{}: {e}", file.display())))?,
                _ => built_in.to_string(),
            };
            Ok((shown.unwrap_or(format!("{name}.jinja")), text))
        })
    }

    /// The wording that a run recorded.
    ///
    /// # Errors
    /// [`TemplateError`] if a text is missing or is not a template.
    pub fn recorded(texts: &BTreeMap<String, String>) -> Result<Self, TemplateError> {
        let of = |kind: TaskKind| {
            Templates::of(&kind.common().prompts, |name, _| match texts.get(name) {
                Some(text) => Ok((format!("the recorded {name}.jinja"), text.clone())),
                None => Err(TemplateError(format!("the run did not record {name}.jinja"))),
            })
        };
        // A run does not record its kind of task, but the variables in its templates differ
        // by kind.
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
        assert_eq!(error, "the run did not record system.jinja");
    }

    #[test]
    fn a_change_of_the_built_in_wording_adds_the_earlier_hash() {
        for (kind, expected) in [
            (TaskKind::Method, "7e9066d951af69757439793e84e0cb8459e5cece734a44f63579a1b44aeac107"),
            (TaskKind::Issue, "d2df79f6a84b5bcd497e4fd1a90f12651cf355391b6c9370acf5970f728757f1"),
            (TaskKind::Methods, "1c9f321d7e3ce9708078c64f10ad407fabed2900e6f93ab4d0524b62d7dd102a"),
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
