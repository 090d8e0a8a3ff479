//! What happened: actions, observations, feedback, and the episode they make.
//!
//! Everything here is plain data, written as one JSON line an episode.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::generation::Generation;
use crate::task::{Budget, Task};

/// Version of the JSON form of run records and of episodes that write a method.
pub const SCHEMA: u32 = 1;
/// Version of the JSON form of episodes that resolve an issue; the newest. A
/// reader refuses a newer one.
pub const ISSUE_SCHEMA: u32 = 2;

/// One attempt at one task, from first turn to verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Episode {
    /// [`SCHEMA`], or [`ISSUE_SCHEMA`] for an issue.
    pub schema: u32,
    /// The task, whole, so that an episode can be read on its own.
    pub task: Task,
    /// Name of the policy.
    pub policy: String,
    /// Where the episode comes from.
    pub provenance: Provenance,
    /// What was done, in order. Append-only.
    pub turns: Vec<Turn>,
    /// Why it ended.
    pub end: End,
    /// The final change, a unified diff against what the policy was given.
    pub patch: Option<String>,
    /// What the benchmark says of the patch; none where there is no patch.
    pub verdict: Option<Verdict>,
}

impl Episode {
    /// True where the benchmark confirmed the patch.
    pub fn solved(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.solved)
    }

    /// True where there is a patch that no benchmark has judged, as in work
    /// taken over from other agents: neither solved nor unsolved.
    pub fn unjudged(&self) -> bool {
        self.patch.is_some() && self.verdict.is_none()
    }

    /// The turn, counted from 1, that solved the task.
    pub fn solved_at(&self) -> Option<usize> {
        self.solved().then_some(self.turns.len())
    }

    /// True where the world, not the policy, ended it: requeued, and in no
    /// denominator.
    pub fn infrastructure_failure(&self) -> bool {
        matches!(&self.end, End::Failed { kind: FailureKind::Infrastructure, .. })
    }
}

/// Where an episode comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Provenance {
    /// Version of fixfly.
    pub fixfly: String,
    /// Which of the samples of this task, from 0.
    pub sample: u32,
    /// Seed the policy was given.
    pub seed: u64,
    /// What the sandbox held back, in the words of its host.
    pub isolation: String,
    /// Start, RFC 3339, UTC.
    pub started: String,
    /// Wall-clock seconds from start to end.
    pub seconds: f64,
}

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
    /// The change the action made, a unified diff, where the tool makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
}

impl Observation {
    /// An observation that says only that something was wrong with the call.
    pub fn refused(text: impl Into<String>) -> Self {
        Observation { text: text.into(), outcome: Outcome::Refused, tests: None, patch: None }
    }

    /// An observation that says only that the candidate is no code to run.
    pub fn invalid(text: impl Into<String>) -> Self {
        Observation { outcome: Outcome::Invalid, ..Observation::refused(text) }
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

/// Why an episode ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum End {
    /// The benchmark confirmed a pass.
    Solved,
    /// The policy said it was done.
    Submitted,
    /// A limit was met.
    BudgetSpent {
        /// Which one.
        limit: Limit,
    },
    /// Something other than the candidate broke.
    Failed {
        /// Where.
        at: Boundary,
        /// Whose failure it is.
        #[serde(rename = "failure")]
        kind: FailureKind,
        /// In one sentence.
        why: String,
    },
}

/// A limit that ends an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Turns.
    Turns,
    /// Tokens.
    Tokens,
    /// Wall-clock time.
    Seconds,
    /// Money.
    Usd,
    /// The model's window.
    Context,
    /// Words in a row that asked for nothing that exists.
    Malformed,
}

/// The boundary a failure crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Boundary {
    /// The policy.
    Policy,
    /// A tool.
    Tool,
    /// The sandbox.
    Sandbox,
    /// The benchmark's judgement.
    Benchmark,
}

/// Whose failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The world broke: the episode is run again and counts nowhere.
    Infrastructure,
    /// The model broke: the episode counts as unsolved.
    Model,
}

/// What a benchmark says of a patch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// All item tests pass, confirmed on the reference path, and no control
    /// shows tampering.
    pub solved: bool,
    /// Whether every wider test passes too; none where there are none or the
    /// patch is not solved.
    #[serde(alias = "held_up")]
    pub hidden_tests_pass: Option<bool>,
    /// Item tests on the reference path.
    pub tests: TestReport,
    /// Wider tests: how many passed, of how many.
    pub wider: Option<Tally>,
    /// Names of wider tests that did not pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wider_failed: Vec<String>,
    /// Which control caught the candidate, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tampering: Option<String>,
    /// What a person should look at before a pass is believed: code that looks
    /// into its own interpreter or reaches other processes. It refuses nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub review: Vec<String>,
    /// True where the change reproduces the reference word for word, after
    /// decorators, docstring and trailing space are set aside.
    #[serde(default)]
    pub exact_match: bool,
    /// The part of the patch that was judged, where it is not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graded: Option<String>,
}

/// Some of some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// How many.
    pub passed: usize,
    /// Of how many.
    pub total: usize,
}
