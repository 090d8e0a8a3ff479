//! One turn: what the policy did, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::budget::Budget;
use crate::generation::Generation;
use crate::test_report::{TestDelta, TestReport};

/// One action, what came of it, and what that means for the next one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Turn {
    /// What the policy did.
    pub action: Action,
    /// What the world answered.
    pub observation: Observation,
    /// What changed since the last turn, and what is left.
    pub feedback: Feedback,
    /// How long it took.
    pub timings: Timings,
}

/// Wall-clock milliseconds of a turn's parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timings {
    /// The policy's decision.
    pub act_ms: u64,
    /// The tool call, opening a sandbox included.
    pub call_ms: u64,
}

/// What a policy did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Action {
    /// The policy's exact words.
    pub text: String,
    /// Its reasoning, where it gives one apart from its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// What the words ask for.
    pub call: Call,
    /// What the words cost.
    #[serde(default)]
    pub usage: Usage,
    /// How a model made them; none where no model did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
}

/// What an action asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Call a tool.
    Tool {
        /// The tool's name.
        name: String,
        /// Its arguments, an object.
        args: Value,
    },
    /// The policy is done, or gives up.
    Submit,
    /// The words ask for nothing that exists; says why.
    Malformed(String),
}

/// What one action cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Tokens read, cached ones included.
    pub prompt_tokens: u64,
    /// Tokens written, reasoning included.
    pub completion_tokens: u64,
    /// Of the tokens read, those that were known from before.
    #[serde(default)]
    pub cached_tokens: u64,
    /// Of the tokens written, those of the reasoning.
    #[serde(default)]
    pub reasoning_tokens: u64,
    /// Calls made, those that failed included.
    #[serde(default)]
    pub calls: u32,
    /// US dollars; none where the price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
}

/// What the world answered. Deterministic: the same candidate gives the same
/// bytes, so it holds no time, address or host path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observation {
    /// What the policy is shown, capped in size.
    pub text: String,
    /// What came of the action, in a word.
    pub outcome: Outcome,
    /// Per-test results, where tests ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestReport>,
    /// The candidate that was run, where the action submitted one: exactly one
    /// method, dedented, without decorators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// The change of the work tree, a unified diff, where the action handed it in.
    /// Before there was `candidate`, a candidate as a diff against the stubbed file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
}

impl Observation {
    /// An observation without tests, candidate and patch.
    pub fn new(outcome: Outcome, text: impl Into<String>) -> Self {
        Observation { text: text.into(), outcome, tests: None, candidate: None, patch: None }
    }

    /// An observation that says only that something was wrong with the call.
    pub fn refused(text: impl Into<String>) -> Self {
        Observation::new(Outcome::Refused, text)
    }

    /// An observation that says only that the candidate is no code to run.
    pub fn invalid(text: impl Into<String>) -> Self {
        Observation::new(Outcome::Invalid, text)
    }

    /// What the action submitted for judgement: a candidate, or a change of the
    /// work tree.
    pub fn submission(&self) -> Option<&str> {
        self.candidate.as_deref().or(self.patch.as_deref())
    }
}

/// What came of an action.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every expected test passed.
    Passed,
    /// A test failed or was not reported as passed.
    Failed,
    /// The candidate could not be run: not one method, or wrong syntax.
    Invalid,
    /// The time limit ran out.
    TimedOut,
    /// The process died of a signal.
    Crashed,
    /// The memory limit was met.
    OutOfMemory,
    /// The process left before its tests were done.
    Exited,
    /// The tests passed, but a control shows that the pass is not honest.
    Tampered,
    /// The tool did what was asked; no tests were involved.
    Done,
    /// The tool refused the call.
    Refused,
    /// The tool handed the work in: the episode is over.
    Submitted,
}

/// What changed since the last turn, and what is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Feedback {
    /// Per-test change since the last turn that ran tests.
    pub delta: TestDelta,
    /// Budget left after this turn.
    pub left: Budget,
    /// The change in one line, as the policy is told; empty where there is
    /// nothing to compare with.
    pub message: String,
}
