//! Who decides the next action.

use async_trait::async_trait;

use crate::budget::Limit;
use crate::generation::Generation;
use crate::message::Message;
use crate::render::render;
use crate::task::Task;
use crate::templates::Templates;
use crate::tool::{Tool, ToolSpec};
use crate::turn::{Action, Call, Turn, Usage};

/// Decides the next action from what it may see, and nothing else. Keeps no
/// state between calls that the view and its seed do not determine, so that
/// every episode can be replayed and resumed.
#[async_trait]
pub trait Policy: Send + Sync {
    /// The next action.
    ///
    /// # Errors
    /// [`PolicyError`] ends the episode; words that make no sense are not an
    /// error but [`crate::Call::Malformed`].
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError>;

    /// Completes a conversation without a task, if the policy uses a model. It uses the
    /// same call as `act`.
    ///
    /// # Errors
    /// [`PolicyError`]; [`PolicyError::Model`] if the policy uses no model.
    async fn complete(&self, _: Request<'_>) -> Result<Completion, PolicyError> {
        Err(PolicyError::Model("this policy writes no text of its own".into()))
    }

    /// Why no more can be asked of it in this run, in one sentence: its money
    /// is spent, its server turns it away. What is not done yet is left for
    /// another time.
    fn halted(&self) -> Option<String> {
        None
    }
}

/// A request for a completion.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The conversation, up to the message that the model is to write.
    pub messages: &'a [Message],
    /// Names a conversation; a longer version of it has the same name.
    pub name: &'a str,
    /// Which answer to the same conversation, from 0.
    pub sample: u32,
    /// The only source of chance.
    pub seed: u64,
}

/// A completion: what a model wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// Its exact text.
    pub text: String,
    /// Its reasoning, if it is separate from the text.
    pub reasoning: Option<String>,
    /// What it cost.
    pub usage: Usage,
    /// How it was generated.
    pub generation: Generation,
}

impl Completion {
    /// The action with this completion and this call.
    pub fn action(self, call: Call) -> Action {
        let Completion { text, reasoning, usage, generation } = self;
        Action { text, reasoning, call, usage, generation: Some(generation) }
    }
}

/// All a policy may see.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The task.
    pub task: &'a Task,
    /// All tools; the task names those it allows.
    pub tools: &'a [Box<dyn Tool>],
    /// What was done so far.
    pub turns: &'a [Turn],
    /// How the conversation is worded.
    pub templates: &'a Templates,
    /// Which of the samples of this task, from 0.
    pub sample: u32,
    /// Fixed for the task and sample: the only source of chance.
    pub seed: u64,
}

impl View<'_> {
    /// What the model may be told of the tools it may call.
    pub fn specs(&self) -> Vec<ToolSpec> {
        let specs = self.tools.iter().map(|tool| tool.spec());
        specs.filter(|spec| self.task.tools.contains(&spec.name)).collect()
    }

    /// The turns that the conversation shows, one for each of the policy's words in it.
    pub fn shown(&self) -> Vec<&Turn> {
        self.task.statement.shown(self.turns)
    }

    /// The conversation so far, as a chat model reads it.
    pub fn messages(&self) -> Vec<Message> {
        render(self.task, self.turns, self.templates)
    }
}

/// Why a policy gave no action.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Whatever the policy depends on failed: network, engine, recorded run.
    #[error("{0}")]
    Infrastructure(String),
    /// The model itself failed, in a way that no other turn could fix.
    #[error("{0}")]
    Model(String),
    /// What the next action takes is more than is left. Ends the episode in
    /// order, unsolved.
    #[error("the budget is spent: {0:?}")]
    Spent(Limit),
}
