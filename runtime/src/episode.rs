//! The episode: what happened from the first turn to the verdict.
//!
//! Everything here is plain data. An episode is one line of JSON.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::Limit;
use crate::change::LeftOut;
use crate::task::Task;
use crate::test_report::TestReport;
use crate::turn::Turn;

/// One attempt at one task, from the first turn to the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Episode {
    /// Schema version of the task's kind: 1 for methods, 2 for issues.
    pub schema: u32,
    /// The whole task, so that the episode can be read on its own.
    pub task: Task,
    /// Name of the policy.
    pub policy: String,
    /// The origin of the episode.
    pub provenance: Provenance,
    /// The turns, in order. Append-only.
    pub turns: Vec<Turn>,
    /// Why the episode ended.
    pub end: End,
    /// The final change, a unified diff against what the policy was given.
    pub patch: Option<String>,
    /// What the final change lacks because it could not be taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// The benchmark's verdict; `None` if there is no patch.
    pub verdict: Option<Verdict>,
}

impl Episode {
    /// True if the benchmark confirmed the patch.
    pub fn solved(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.solved)
    }

    /// True if there is a patch without a verdict, as in trajectories imported from other
    /// agents. Such an episode is neither solved nor unsolved.
    pub fn unjudged(&self) -> bool {
        self.patch.is_some() && self.verdict.is_none()
    }

    /// The turn, counted from 1, that solved the task.
    pub fn solved_at(&self) -> Option<usize> {
        self.solved().then_some(self.turns.len())
    }

    /// True if an infrastructure failure ended the episode. It is requeued and counts in no
    /// denominator.
    pub fn infrastructure_failure(&self) -> bool {
        matches!(&self.end, End::Failed { kind: FailureKind::Infrastructure, .. })
    }
}

/// The origin of an episode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Provenance {
    /// Version of fixfly.
    pub fixfly: String,
    /// Index of the sample of this task, from 0.
    pub sample: u32,
    /// Seed that was given to the policy.
    pub seed: u64,
    /// The sandbox's isolation, as its host describes it.
    pub isolation: String,
    /// Start, RFC 3339, UTC.
    pub started: String,
    /// Wall-clock seconds from start to end.
    pub seconds: f64,
}

/// Why an episode ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum End {
    /// The benchmark confirmed a pass.
    Solved,
    /// The policy submitted.
    Submitted,
    /// A limit was reached.
    BudgetSpent {
        /// The limit.
        limit: Limit,
    },
    /// Something other than the candidate failed.
    Failed {
        /// Where it failed.
        at: Boundary,
        /// The kind of failure.
        #[serde(rename = "failure")]
        kind: FailureKind,
        /// The reason, in one sentence.
        why: String,
    },
}

impl End {
    /// Its name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            End::Solved => "solved",
            End::Submitted => "submitted",
            End::BudgetSpent { limit: Limit::Turns } => "turn limit",
            End::BudgetSpent { limit: Limit::Tokens } => "token limit",
            End::BudgetSpent { limit: Limit::Seconds } => "time limit",
            End::BudgetSpent { limit: Limit::Context } => "context limit",
            End::BudgetSpent { limit: Limit::Malformed } => "malformed calls",
            End::BudgetSpent { limit: Limit::Usd } => "cost limit",
            End::Failed { kind: FailureKind::Model, .. } => "model failed",
            End::Failed { kind: FailureKind::Infrastructure, .. } => "infrastructure failed",
        }
    }
}

/// The component that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Boundary {
    /// The policy.
    Policy,
    /// A tool.
    Tool,
    /// The sandbox.
    Sandbox,
    /// The benchmark, while it judged.
    Benchmark,
}

/// The kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The environment failed. The episode is run again and counts nowhere.
    Infrastructure,
    /// The model failed. The episode counts as unsolved.
    Model,
}

/// A benchmark's verdict on a patch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// All item tests passed on the reference path, and no control detected tampering.
    pub solved: bool,
    /// Whether all hidden tests passed; `None` if there are none or the task is not solved.
    #[serde(alias = "held_up")]
    pub hidden_tests_pass: Option<bool>,
    /// Results of the item tests on the reference path.
    pub tests: TestReport,
    /// The number of hidden tests, and of those that passed.
    pub wider: Option<Tally>,
    /// Names of hidden tests that did not pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wider_failed: Vec<String>,
    /// The control that detected tampering, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tampering: Option<String>,
    /// Code that a person should read before they trust a pass, such as code that inspects
    /// its own interpreter or reaches other processes. It does not change the verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub review: Vec<String>,
    /// True if the change equals the reference word for word, without decorators, docstring
    /// and trailing whitespace.
    #[serde(default)]
    pub exact_match: bool,
    /// The part of the patch that was judged, if not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graded: Option<String>,
}

/// A number of passed tests, and the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// Tests that passed.
    pub passed: usize,
    /// All tests.
    pub total: usize,
}
