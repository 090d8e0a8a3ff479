//! What an action can call.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::benchmark::{Benchmark, BenchmarkError, Evaluator, WorkTree};
use crate::sandbox::{Sandbox, SandboxError};
use crate::task::Task;
use crate::turn::{Observation, Turn};

/// One action on a sandbox.
#[async_trait]
pub trait Tool: Send + Sync {
    /// Name, description and arguments, as a model is told.
    fn spec(&self) -> ToolSpec;

    /// Does it.
    ///
    /// # Errors
    /// [`ToolError::Refused`] is shown to the policy; the others end the
    /// episode.
    async fn call(&self, args: Value, context: ToolContext<'_>) -> Result<Observation, ToolError>;
}

/// What a tool acts on.
#[derive(Clone, Copy)]
pub struct ToolContext<'a> {
    /// The task at hand.
    pub task: &'a Task,
    /// What was done before.
    pub turns: &'a [Turn],
    /// The only way to touch the world.
    pub sandbox: &'a dyn Sandbox,
    /// Whose tests and facts the task rests on.
    pub benchmark: &'a dyn Benchmark,
}

impl<'a> ToolContext<'a> {
    /// What evaluates candidates of the task.
    ///
    /// # Errors
    /// [`ToolError::Benchmark`] where the benchmark evaluates none: the task names
    /// a tool that is not for it.
    pub fn evaluator(&self) -> Result<&'a dyn Evaluator, ToolError> {
        self.benchmark.evaluator().ok_or_else(|| self.lacks("evaluates no candidates"))
    }

    /// What runs tests and reads the change in the task's work tree.
    ///
    /// # Errors
    /// [`ToolError::Benchmark`] where the benchmark has no work trees: the task
    /// names a tool that is not for it.
    pub fn work_tree(&self) -> Result<&'a dyn WorkTree, ToolError> {
        self.benchmark.work_tree().ok_or_else(|| self.lacks("has no work trees"))
    }

    fn lacks(&self, what: &str) -> ToolError {
        let Task { id, benchmark, .. } = self.task;
        BenchmarkError::Broken(format!("{id}: the benchmark {benchmark} {what}")).into()
    }
}

/// What a model is told of a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolSpec {
    /// The name to call it by.
    pub name: String,
    /// What it does, for a model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Value,
}

/// Why a tool gave no observation.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The call was wrong; the policy is told and may mend it.
    #[error("{0}")]
    Refused(String),
    /// The sandbox broke.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The benchmark broke.
    #[error(transparent)]
    Benchmark(#[from] BenchmarkError),
}
