//! The episode: what happened from the first turn to the verdict.
//!
//! Everything here is plain data, written as one JSON line an episode.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::Limit;
use crate::task::Task;
use crate::test_report::TestReport;
use crate::turn::Turn;

/// One attempt at one task, from first turn to verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Episode {
    /// Version of the form, by the kind of task: 1 for methods, 2 for issues.
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
