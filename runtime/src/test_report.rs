//! What tests did, and what changed since they ran before.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Results of the tests that were asked for, in the order asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestReport {
    /// One entry for each test asked for, exactly.
    pub results: Vec<TestResult>,
}

impl TestReport {
    /// True where there is a test and every one passed.
    pub fn passed(&self) -> bool {
        !self.results.is_empty() && self.results.iter().all(|r| r.outcome == TestOutcome::Passed)
    }

    /// True where there is a test and none failed: skipped ones and failures
    /// that their authors expect are fine too.
    pub fn passed_or_skipped(&self) -> bool {
        !self.results.is_empty() && self.results.iter().all(|r| r.outcome.is_fine())
    }

    /// How many passed.
    pub fn count_passed(&self) -> usize {
        self.results.iter().filter(|r| r.outcome == TestOutcome::Passed).count()
    }
}

/// What one test did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestResult {
    /// The framework's own name of the test.
    pub id: String,
    /// What came of it.
    pub outcome: TestOutcome,
    /// Its first failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<TestFailure>,
}

/// What came of one test. Only `Passed` is a pass.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TestOutcome {
    /// Ran and passed, reported once.
    Passed,
    /// An assertion failed.
    Failed,
    /// Another exception was raised.
    Errored,
    /// Skipped itself.
    Skipped,
    /// Failed as its author expected.
    ExpectedFailure,
    /// Passed though its author expected a failure.
    UnexpectedSuccess,
    /// Was running when the time limit ran out.
    TimedOut,
    /// Was running when the process died of a signal.
    Crashed,
    /// Ran out of memory.
    OutOfMemory,
    /// Was running when the process left.
    Exited,
    /// Never started, because something before it ended the run.
    NotRun,
    /// Reported more than once, or not at all by a run that ended in order.
    Misreported,
    /// Ran several times, and did not always do the same.
    Flaky,
}

impl TestOutcome {
    /// Whether a runner counts it as no failure.
    pub fn is_fine(self) -> bool {
        matches!(self, TestOutcome::Passed | TestOutcome::Skipped | TestOutcome::ExpectedFailure)
    }
}

/// How a test failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestFailure {
    /// Type of the exception, unqualified for builtins: `AssertionError`.
    pub exception: String,
    /// Its message.
    pub message: String,
    /// Frames a developer would read, in Python's own form.
    pub traceback: String,
    /// What the test printed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

/// Per-test change between two turns, by test id, in the order of the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestDelta {
    /// Pass now, did not before.
    pub fixed: Vec<String>,
    /// Passed before, do not now.
    pub broken: Vec<String>,
    /// Passed neither before nor now.
    pub still_failing: Vec<String>,
    /// Did not do the same each time they ran now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flaky: Vec<String>,
}
