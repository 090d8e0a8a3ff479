//! Where tasks come from and who judges them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::JoinError;

use crate::episode::Verdict;
use crate::sandbox::{Sandbox, SandboxError};
use crate::statement::Method;
use crate::task::Task;
use crate::turn::Observation;

/// Tasks, and verdicts on what was done with them.
#[async_trait]
pub trait Benchmark: Send + Sync {
    /// The tasks of a split, in the benchmark's own order.
    ///
    /// # Errors
    /// [`BenchmarkError`] where they cannot be read.
    async fn tasks(&self, split: Split) -> Result<Vec<Task>, BenchmarkError>;

    /// What evaluates candidates, where the tasks ask for candidates.
    fn evaluator(&self) -> Option<&dyn Evaluator> {
        None
    }

    /// What runs tests and reads the change in a work tree, where the tasks have
    /// one.
    fn work_tree(&self) -> Option<&dyn WorkTree> {
        None
    }

    /// Decides on what was submitted, in a sandbox it has not been in: the candidate
    /// that the evaluator recorded, or the change that the work tree gave.
    ///
    /// # Errors
    /// [`BenchmarkError`] where no verdict could be reached.
    async fn judge(
        &self,
        task: &Task,
        submission: &str,
        fresh: &dyn Sandbox,
    ) -> Result<Verdict, BenchmarkError>;

    /// Why a task cannot be worked on in the sandbox of that name, where that
    /// was found out; none where it can.
    fn unsupported(&self, _task: &Task, _sandbox: &str) -> Option<String> {
        None
    }

    /// CPU seconds that the task's own tests take; `None` if that is not known.
    fn test_seconds(&self, _task: &Task) -> Option<f64> {
        None
    }

    /// What the tasks and verdicts rest on, for the record: versions, hashes.
    fn facts(&self) -> BTreeMap<String, String>;

    /// What policies that ask for it may learn from, or check the harness with.
    fn ground_truth(&self) -> &dyn GroundTruth;
}

/// Evaluates candidates: what a benchmark has whose tasks ask for code.
#[async_trait]
pub trait Evaluator: Send + Sync {
    /// Runs the task's own tests on a candidate: what a turn observes, with the
    /// candidate that was run. The candidate's faults are observations, never errors.
    ///
    /// # Errors
    /// [`BenchmarkError`] where the tests could not be run.
    async fn evaluate(
        &self,
        task: &Task,
        candidate: &str,
        sandbox: &dyn Sandbox,
    ) -> Result<Observation, BenchmarkError>;

    /// A candidate that was run, as a unified diff against what the policy was given.
    ///
    /// # Errors
    /// [`BenchmarkError`] where the task is not the benchmark's.
    fn patch(&self, task: &Task, candidate: &str) -> Result<String, BenchmarkError>;
}

/// A tree of files that actions change: what a benchmark has whose tasks are
/// worked on in the sandbox.
#[async_trait]
pub trait WorkTree: Send + Sync {
    /// Runs tests by their labels on the tree as it is. What the tests do is an
    /// observation.
    ///
    /// # Errors
    /// [`BenchmarkError`] where the tests could not be run.
    async fn run_tests(
        &self,
        task: &Task,
        labels: &[String],
        sandbox: &dyn Sandbox,
    ) -> Result<Observation, BenchmarkError>;

    /// The change made so far, a unified diff; none where nothing is changed.
    ///
    /// # Errors
    /// [`BenchmarkError`] where it cannot be told.
    async fn change(
        &self,
        task: &Task,
        sandbox: &dyn Sandbox,
    ) -> Result<Option<String>, BenchmarkError>;
}

/// What only the benchmark knows, given to policies that declare they need it.
pub trait GroundTruth: Send + Sync {
    /// Methods of the training split, with their source; none where the tasks are
    /// no methods.
    ///
    /// # Errors
    /// [`BenchmarkError`] where they cannot be read.
    fn examples(&self) -> Result<Vec<Example>, BenchmarkError> {
        Ok(Vec::new())
    }

    /// What the oracle and the null policy answer.
    ///
    /// # Errors
    /// [`BenchmarkError`] where the task is not the benchmark's.
    fn answer(&self, task: &Task, answer: Answer) -> Result<String, BenchmarkError>;

    /// What candidates are compared with: the whole method, where the oracle
    /// answers with a part of it.
    ///
    /// # Errors
    /// [`BenchmarkError`] where the task is not the benchmark's.
    fn reference(&self, task: &Task) -> Result<String, BenchmarkError> {
        self.answer(task, Answer::Truth)
    }
}

/// A solved task to learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The training task's id.
    pub id: String,
    /// The task's statement; its `content` is empty.
    pub method: Method,
    /// The method as written, decorators left out, dedented.
    pub source: String,
}

/// Which answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The method as its authors wrote it.
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
    /// To learn from.
    Train,
    /// To choose by.
    Validation,
    /// To report.
    Benchmark,
}

impl Split {
    /// All of them.
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

/// Why a benchmark could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum BenchmarkError {
    /// What it rests on is missing or not what it should be; says the mend.
    #[error("{0}")]
    Broken(String),
    /// The sandbox broke.
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
