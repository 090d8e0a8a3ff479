//! Tasks and verdicts.

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::JoinError;

use crate::change::Change;
use crate::episode::Verdict;
use crate::sandbox::{Sandbox, SandboxError};
use crate::statement::Method;
use crate::task::Task;
use crate::turn::Observation;

/// A source of tasks, and the judge of their solutions.
#[async_trait]
pub trait Benchmark: Send + Sync {
    /// The tasks of a split, in the benchmark's own order.
    ///
    /// # Errors
    /// [`BenchmarkError`] if they cannot be read.
    async fn tasks(&self, split: Split) -> Result<Vec<Task>, BenchmarkError>;

    /// The evaluator, if the tasks ask for candidates.
    fn evaluator(&self) -> Option<&dyn Evaluator> {
        None
    }

    /// The work tree, if the tasks have one.
    fn work_tree(&self) -> Option<&dyn WorkTree> {
        None
    }

    /// Judges a submission in an unused sandbox: the candidate that the evaluator recorded,
    /// or the change that the work tree returned.
    ///
    /// # Errors
    /// [`BenchmarkError`] if no verdict can be reached.
    async fn judge(
        &self,
        task: &Task,
        submission: &str,
        fresh: &dyn Sandbox,
    ) -> Result<Verdict, BenchmarkError>;

    /// Why this sandbox does not support the task; `None` if it does, or if nobody checked.
    fn unsupported(&self, _task: &Task, _sandbox: &str) -> Option<String> {
        None
    }

    /// CPU seconds that the task's own tests take; `None` if unknown.
    fn test_seconds(&self, _task: &Task) -> Option<f64> {
        None
    }

    /// Facts that determine the tasks and verdicts, such as versions and hashes; recorded
    /// with the run.
    fn facts(&self) -> BTreeMap<String, String>;

    /// Ground truth, for policies that declare that they need it.
    fn ground_truth(&self) -> &dyn GroundTruth;
}

/// Evaluates candidates. Benchmarks whose tasks ask for code have one.
#[async_trait]
pub trait Evaluator: Send + Sync {
    /// Runs the task's own tests on a candidate. Returns the turn's observation, with the
    /// candidate that ran. A faulty candidate is an observation, never an error.
    ///
    /// # Errors
    /// [`BenchmarkError`] if the tests cannot be run.
    async fn evaluate(
        &self,
        task: &Task,
        candidate: &str,
        sandbox: &dyn Sandbox,
    ) -> Result<Observation, BenchmarkError>;

    /// A candidate that ran, as a unified diff against what the policy was given.
    ///
    /// # Errors
    /// [`BenchmarkError`] if the task does not belong to the benchmark.
    fn patch(&self, task: &Task, candidate: &str) -> Result<String, BenchmarkError>;
}

/// A tree of files that actions change. Benchmarks whose tasks are solved inside the
/// sandbox have one.
#[async_trait]
pub trait WorkTree: Send + Sync {
    /// Runs tests by label on the current tree. Failing tests are an observation.
    ///
    /// # Errors
    /// [`BenchmarkError`] if the tests cannot be run.
    async fn run_tests(
        &self,
        task: &Task,
        labels: &[String],
        sandbox: &dyn Sandbox,
    ) -> Result<Observation, BenchmarkError>;

    /// The change so far, and what of it could not be taken.
    ///
    /// # Errors
    /// [`BenchmarkError`] if it cannot be determined, which is not the same as no change.
    async fn change(&self, task: &Task, sandbox: &dyn Sandbox) -> Result<Change, BenchmarkError>;
}

/// Ground truth of a benchmark, for policies that declare that they need it.
pub trait GroundTruth: Send + Sync {
    /// Methods of the training split with their source; empty if the tasks are not methods.
    ///
    /// # Errors
    /// [`BenchmarkError`] if they cannot be read.
    fn examples(&self) -> Result<Vec<Example>, BenchmarkError> {
        Ok(Vec::new())
    }

    /// The answer of the oracle or of the null policy.
    ///
    /// # Errors
    /// [`BenchmarkError`] if the task does not belong to the benchmark.
    fn answer(&self, task: &Task, answer: Answer) -> Result<String, BenchmarkError>;

    /// Different wrong answers to a task of the training split, for training data; empty if
    /// there are none for this task.
    ///
    /// # Errors
    /// [`BenchmarkError`] if the benchmark has no wrong answers, or the task is held out.
    fn wrong_answers(&self, task: &Task) -> Result<Vec<String>, BenchmarkError> {
        let benchmark = &task.benchmark;
        Err(BenchmarkError::Broken(format!(
            "the benchmark `{benchmark}` has no wrong answers to give; `faults` has"
        )))
    }

    /// The reference that candidates are compared with: the whole method, even if the
    /// oracle's answer is only a part of it.
    ///
    /// # Errors
    /// [`BenchmarkError`] if the task does not belong to the benchmark.
    fn reference(&self, task: &Task) -> Result<String, BenchmarkError> {
        self.answer(task, Answer::Truth)
    }
}

/// A solved task of the training split.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Id of the task.
    pub id: String,
    /// The task's statement; its `content` is empty.
    pub method: Method,
    /// The original method, dedented, without decorators.
    pub source: String,
}

/// Which answer to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The original method.
    Truth,
    /// The declaration with a body that raises.
    Stub,
}

/// A part of a benchmark.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For training.
    Train,
    /// For choosing between models.
    Validation,
    /// For reported results.
    Benchmark,
}

impl Split {
    /// All splits.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Benchmark];

    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Benchmark => "benchmark",
        }
    }
}

/// Why a benchmark failed.
#[derive(Debug, thiserror::Error)]
pub enum BenchmarkError {
    /// Its data is missing or invalid; the message includes the remedy.
    #[error("{0}")]
    Broken(String),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Work on one of many tasks panicked.
    #[error("{what} hit a bug in fixfly; please report it: {why}")]
    Bug {
        /// The kind of work: `an item`, `a patch`.
        what: &'static str,
        /// The panic.
        why: JoinError,
    },
}

impl BenchmarkError {
    /// The error for work that panicked.
    pub fn bug(what: &'static str) -> impl Fn(JoinError) -> BenchmarkError {
        move |why| BenchmarkError::Bug { what, why }
    }
}
