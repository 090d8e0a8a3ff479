//! Tools, which actions call.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::benchmark::{Benchmark, BenchmarkError, Evaluator, WorkTree};
use crate::sandbox::{Sandbox, SandboxError};
use crate::task::Task;
use crate::turn::{Observation, Turn};

/// The command that submits the work if a shell is the only tool, as in mini-swe-agent.
pub const SUBMIT_COMMAND: &str = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT";

/// One action on a sandbox.
#[async_trait]
pub trait Tool: Send + Sync {
    /// Name, description and arguments, for a model.
    fn spec(&self) -> ToolSpec;

    /// Runs the tool.
    ///
    /// # Errors
    /// [`ToolError::Refused`] is shown to the policy; the others end the episode.
    async fn call(&self, args: Value, context: ToolContext<'_>) -> Result<Observation, ToolError>;
}

/// What a tool acts on.
#[derive(Clone, Copy)]
pub struct ToolContext<'a> {
    /// The task.
    pub task: &'a Task,
    /// The turns so far.
    pub turns: &'a [Turn],
    /// The sandbox; tools act through it only.
    pub sandbox: &'a dyn Sandbox,
    /// The benchmark of the task.
    pub benchmark: &'a dyn Benchmark,
}

impl<'a> ToolContext<'a> {
    /// The evaluator of the task's candidates.
    ///
    /// # Errors
    /// [`ToolError::Benchmark`] if the benchmark has none: the task lists a tool that does
    /// not suit it.
    pub fn evaluator(&self) -> Result<&'a dyn Evaluator, ToolError> {
        self.benchmark.evaluator().ok_or_else(|| self.lacks("does not evaluate candidates"))
    }

    /// The task's work tree, which runs tests and reads the change.
    ///
    /// # Errors
    /// [`ToolError::Benchmark`] if the benchmark has no work trees: the task lists a tool
    /// that does not suit it.
    pub fn work_tree(&self) -> Result<&'a dyn WorkTree, ToolError> {
        self.benchmark.work_tree().ok_or_else(|| self.lacks("has no work trees"))
    }

    fn lacks(&self, what: &str) -> ToolError {
        let Task { id, benchmark, .. } = self.task;
        BenchmarkError::Broken(format!("{id}: the benchmark {benchmark} {what}")).into()
    }
}

/// A description of a tool for a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolSpec {
    /// The name that calls use.
    pub name: String,
    /// What the tool does.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Value,
}

/// Why a tool returned no observation.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The call was invalid. The policy sees the message and can correct the call.
    #[error("{0}")]
    Refused(String),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The benchmark failed.
    #[error(transparent)]
    Benchmark(#[from] BenchmarkError),
}
