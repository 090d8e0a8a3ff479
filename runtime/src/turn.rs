//! One turn: an action and its result.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::budget::Budget;
use crate::change::{Change, LeftOut};
use crate::generation::Generation;
use crate::test_report::{TestDelta, TestReport};

/// An action, its observation and the feedback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Turn {
    /// What the policy did.
    pub action: Action,
    /// The tool's result.
    pub observation: Observation,
    /// Changes since the last turn, and the remaining budget.
    pub feedback: Feedback,
    /// Durations.
    pub timings: Timings,
}

/// Wall-clock durations of a turn's parts, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timings {
    /// The policy's decision.
    pub act_ms: u64,
    /// The tool call, including opening a sandbox.
    pub call_ms: u64,
}

/// An action of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Action {
    /// The policy's exact text.
    pub text: String,
    /// The reasoning, if the model returned it separately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// What the text asks for.
    pub call: Call,
    /// The cost of the text.
    #[serde(default)]
    pub usage: Usage,
    /// How a model generated the text; `None` if no model did.
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
    /// The policy submits, because it is done or gives up.
    Submit,
    /// The text asks for nothing that exists; contains the reason.
    Malformed(String),
}

impl Call {
    /// The code that it submits, without space around it, if it submits any.
    pub fn code(&self) -> Option<&str> {
        match self {
            Call::Tool { args, .. } => args.get("code")?.as_str().map(str::trim),
            Call::Submit | Call::Malformed(_) => None,
        }
    }
}

impl Action {
    /// What tells answers apart: the submitted code, or else the text, without space around.
    pub fn answer(&self) -> &str {
        self.call.code().unwrap_or(self.text.trim())
    }
}

/// The cost of an action.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Prompt tokens, cached ones included.
    pub prompt_tokens: u64,
    /// Completion tokens, reasoning included.
    pub completion_tokens: u64,
    /// Prompt tokens that came from a cache.
    #[serde(default)]
    pub cached_tokens: u64,
    /// Completion tokens of the reasoning.
    #[serde(default)]
    pub reasoning_tokens: u64,
    /// Whether a count of tokens is an estimate from bytes, because the server sent none
    /// that could be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    /// Requests, failed ones included.
    #[serde(default)]
    pub calls: u32,
    /// US dollars; `None` if the price is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
}

/// The result of an action. Deterministic: the same candidate gives the same bytes, so it
/// contains no times, addresses or host paths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observation {
    /// The text for the policy, limited in size.
    pub text: String,
    /// The outcome, in one word.
    pub outcome: Outcome,
    /// Results per test, if tests ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestReport>,
    /// The candidate that ran, if the action submitted one: exactly one method, dedented,
    /// without decorators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// The change of the work tree as a unified diff, if the action submitted it. In
    /// records older than `candidate`, a candidate as a diff against the stubbed file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// What that change lacks because it could not be taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

impl Observation {
    /// An observation without tests, candidate and patch.
    pub fn new(outcome: Outcome, text: impl Into<String>) -> Self {
        Observation {
            text: text.into(),
            outcome,
            tests: None,
            candidate: None,
            patch: None,
            left_out: Vec::new(),
        }
    }

    /// The observation of a change that was submitted.
    pub fn submitted(change: Change) -> Self {
        let text = format!("Handed in.{}", change.note());
        let Change { patch, left_out } = change;
        Observation { patch, left_out, ..Observation::new(Outcome::Submitted, text) }
    }

    /// An observation of an invalid call.
    pub fn refused(text: impl Into<String>) -> Self {
        Observation::new(Outcome::Refused, text)
    }

    /// An observation of a candidate that cannot run as code.
    pub fn invalid(text: impl Into<String>) -> Self {
        Observation::new(Outcome::Invalid, text)
    }

    /// What the action submitted for judgement: a candidate, or a change of the work tree.
    pub fn submission(&self) -> Option<&str> {
        self.candidate.as_deref().or(self.patch.as_deref())
    }
}

/// The outcome of an action.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every expected test passed.
    Passed,
    /// A test failed or was not reported as passed.
    Failed,
    /// The candidate cannot be run: it is not exactly one method, or its syntax is invalid.
    Invalid,
    /// The time limit was exceeded.
    TimedOut,
    /// A signal killed the process.
    Crashed,
    /// The memory limit was exceeded.
    OutOfMemory,
    /// The process exited before its tests were done.
    Exited,
    /// The tests passed, but a control shows that the pass is not honest.
    Tampered,
    /// The tool succeeded; no tests were involved.
    Done,
    /// The tool refused the call.
    Refused,
    /// The tool submitted the work: the episode is over.
    Submitted,
}

impl Outcome {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Invalid => "invalid",
            Outcome::TimedOut => "timed out",
            Outcome::Crashed => "crashed",
            Outcome::OutOfMemory => "out of memory",
            Outcome::Exited => "exited",
            Outcome::Tampered => "tampered",
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Submitted => "submitted",
        }
    }
}

/// Changes since the last turn, and the remaining budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Feedback {
    /// Changes per test since the last turn that ran tests.
    pub delta: TestDelta,
    /// The budget left after this turn.
    pub left: Budget,
    /// The changes in one line, as the policy sees them; empty if there is nothing to
    /// compare with.
    pub message: String,
}
