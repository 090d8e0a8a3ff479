//! Policies, which decide the next action.

use async_trait::async_trait;

use crate::admission::Resource;
use crate::budget::Limit;
use crate::generation::Generation;
use crate::message::Message;
use crate::render::render;
use crate::task::Task;
use crate::templates::Templates;
use crate::tool::{Tool, ToolSpec};
use crate::turn::{Action, Call, Turn, Usage};

/// Decides the next action from its view and nothing else. Its state between calls must
/// follow from the view and the seed, so that every episode can be replayed and resumed.
#[async_trait]
pub trait Policy: Send + Sync {
    /// The next action.
    ///
    /// # Errors
    /// [`PolicyError`] ends the episode. An answer that cannot be parsed is not an error
    /// but [`crate::Call::Malformed`].
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError>;

    /// Completes a conversation without a task, if the policy uses a model. Makes the same
    /// call as `act`.
    ///
    /// # Errors
    /// [`PolicyError`]; [`PolicyError::Model`] if the policy uses no model.
    async fn complete(&self, _: Request<'_>) -> Result<Completion, PolicyError> {
        Err(PolicyError::Model("this policy does not use a model".into()))
    }

    /// Why the policy cannot continue in this run, in one sentence: for example, its budget
    /// is spent or its server rejects it. Attempts that are not finished are left for a
    /// later run.
    fn halted(&self) -> Option<String> {
        None
    }

    /// Called when the user asks to stop: waits before requests end at once, as
    /// infrastructure failures. Requests in flight are answered.
    fn stop(&self) {}

    /// What the policy waits for, for the progress display.
    fn waiting(&self) -> Option<String> {
        None
    }

    /// How many of its calls wait for which resource.
    fn waiting_for(&self) -> Vec<(Resource, usize)> {
        Vec::new()
    }
}

/// A request for a completion.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The conversation before the completion.
    pub messages: &'a [Message],
    /// Name of the conversation; longer versions of the conversation keep it.
    pub name: &'a str,
    /// Index of the answer to the same conversation, from 0.
    pub sample: u32,
    /// The only source of randomness.
    pub seed: u64,
}

/// The output of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The exact text.
    pub text: String,
    /// The reasoning, if the model returns it separately.
    pub reasoning: Option<String>,
    /// The cost.
    pub usage: Usage,
    /// How the text was generated.
    pub generation: Generation,
}

impl Completion {
    /// The action of this completion, with this call.
    pub fn action(self, call: Call) -> Action {
        let Completion { text, reasoning, usage, generation } = self;
        Action { text, reasoning, call, usage, generation: Some(generation) }
    }
}

/// Everything that a policy may see.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The task.
    pub task: &'a Task,
    /// All tools; the task names those it allows.
    pub tools: &'a [Box<dyn Tool>],
    /// The turns so far.
    pub turns: &'a [Turn],
    /// The wording of the conversation.
    pub templates: &'a Templates,
    /// Index of the sample of this task, from 0.
    pub sample: u32,
    /// Fixed for the task and sample; the only source of randomness.
    pub seed: u64,
}

impl View<'_> {
    /// Descriptions of the tools that the task allows, for a model.
    pub fn specs(&self) -> Vec<ToolSpec> {
        let specs = self.tools.iter().map(|tool| tool.spec());
        specs.filter(|spec| self.task.tools.contains(&spec.name)).collect()
    }

    /// The turns that the conversation shows, one for each of the policy's messages.
    pub fn shown(&self) -> Vec<&Turn> {
        self.task.statement.shown(self.turns)
    }

    /// The conversation so far, as messages for a chat model.
    pub fn messages(&self) -> Vec<Message> {
        render(self.task, self.turns, self.templates)
    }
}

/// Why a policy returned no action.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Something that the policy depends on failed: the network, an engine, a recorded run.
    #[error("{0}")]
    Infrastructure(String),
    /// The model itself failed, in a way that another turn cannot fix.
    #[error("{0}")]
    Model(String),
    /// The next action needs more than is left of a limit. Ends the episode normally,
    /// unsolved.
    #[error("the budget is spent: {0:?}")]
    Spent(Limit),
}
