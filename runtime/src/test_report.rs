//! Test results, and their changes since the last run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Results of the requested tests, in the order of the request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestReport {
    /// Exactly one entry per requested test.
    pub results: Vec<TestResult>,
}

impl TestReport {
    /// True if there is a test and all tests passed.
    pub fn passed(&self) -> bool {
        !self.results.is_empty() && self.results.iter().all(|r| r.outcome == TestOutcome::Passed)
    }

    /// True if there is a test and none failed. Skipped tests and expected failures are
    /// allowed.
    pub fn passed_or_skipped(&self) -> bool {
        !self.results.is_empty() && self.results.iter().all(|r| r.outcome.is_fine())
    }

    /// The number of tests that passed.
    pub fn count_passed(&self) -> usize {
        self.results.iter().filter(|r| r.outcome == TestOutcome::Passed).count()
    }
}

/// The result of one test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestResult {
    /// The test framework's name of the test.
    pub id: String,
    /// The outcome.
    pub outcome: TestOutcome,
    /// The first failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<TestFailure>,
}

/// The outcome of one test. Only `Passed` is a pass.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TestOutcome {
    /// The test ran, passed and was reported once.
    Passed,
    /// The test failed, as its framework counts failures: an assertion (unittest), or any
    /// exception of the test itself (pytest).
    Failed,
    /// The framework counts an error: another exception (unittest), or one before or after
    /// the test, in a fixture or when its file was collected (pytest).
    Errored,
    /// The test was skipped.
    Skipped,
    /// The test failed, as its author expected.
    ExpectedFailure,
    /// The test passed, although its author expected a failure.
    UnexpectedSuccess,
    /// The time limit ended the process during the test.
    TimedOut,
    /// A signal killed the process during the test.
    Crashed,
    /// The memory limit was exceeded.
    OutOfMemory,
    /// The process exited during the test.
    Exited,
    /// The test never started, because something ended the run before it.
    NotRun,
    /// The test was reported more than once, or a complete run did not report it.
    Misreported,
    /// The test ran several times, with different outcomes.
    Flaky,
}

impl TestOutcome {
    /// Whether a test runner does not count it as a failure.
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
    /// The frames that a developer would read, in Python's format.
    pub traceback: String,
    /// What the test printed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

/// Changes per test between two turns, by test id, in the order of the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestDelta {
    /// Tests that pass now and did not before.
    pub fixed: Vec<String>,
    /// Tests that passed before and do not now.
    pub broken: Vec<String>,
    /// Tests that passed neither before nor now.
    pub still_failing: Vec<String>,
    /// Tests whose outcome varied between repetitions of this run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flaky: Vec<String>,
}
