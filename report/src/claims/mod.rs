//! Tests of the paper's findings on a set of runs.

mod code;
mod repair;
mod training;

use crate::metrics::Estimate;
use serde::Serialize;

use super::groups::{Group, RunSet};
use super::labels::{Labels, Method, Mode};
use super::run_tables::Table;

/// A finding of the paper and its test.
struct Claim {
    /// The finding in one sentence.
    text: &'static str,
    /// Section of the paper.
    section: &'static str,
    /// The runs that the test requires.
    needs: &'static str,
    test: fn(&RunSet<'_>) -> Vec<Evidence>,
}

/// All claims, in the order of the paper.
const ALL: &[Claim] = &[
    repair::THINKING_HELPS,
    repair::SIZE_HELPS,
    repair::TWO_TURNS,
    repair::NOISE,
    training::TRAINING_HELPS,
    training::ROWS_HELP,
    training::LORA_ON_SMALL,
    training::GAP_NARROWS,
    training::HIGH_RANK,
    training::SMALL_GAIN_MOST,
    repair::REASONING_ADDS_NOTHING,
    repair::SHORTER,
    code::CLOSEST,
    code::ASSERTIONS,
    training::FORGETTING,
];

/// One comparison that tests a claim.
struct Evidence {
    /// Description of the comparison.
    what: String,
    /// Positive if the claim is true.
    figure: Estimate,
    /// Unit of the figure: `points`.
    unit: &'static str,
    /// Tolerated loss below zero.
    margin: f64,
}

/// The result of a claim's test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClaimResult {
    /// The whole interval of every comparison supports the claim.
    Holds,
    /// The whole interval of some comparison contradicts the claim.
    Fails,
    /// There is no comparison, or the interval of one is inconclusive.
    NotEnoughData,
}

/// A tested claim.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ClaimTest {
    pub(crate) claim: &'static str,
    pub(crate) section: &'static str,
    pub(crate) result: ClaimResult,
    /// The comparisons with their intervals, or the runs that are missing.
    pub(crate) evidence: Vec<String>,
}

impl ClaimResult {
    pub(crate) fn name(self) -> &'static str {
        match self {
            ClaimResult::Holds => "holds",
            ClaimResult::Fails => "fails",
            ClaimResult::NotEnoughData => "not enough data",
        }
    }
}

impl Evidence {
    fn new(what: String, figure: Estimate, unit: &'static str) -> Self {
        Evidence { what, figure, unit, margin: 0.0 }
    }

    /// Tolerates a loss up to `margin`, for claims that something is no worse.
    fn no_worse_by(self, margin: f64) -> Self {
        Evidence { margin, ..self }
    }

    fn result(&self) -> ClaimResult {
        let Estimate { low, high, .. } = self.figure;
        if high < -self.margin {
            ClaimResult::Fails
        } else if (self.margin > 0.0 && low >= -self.margin) || low > 0.0 {
            ClaimResult::Holds
        } else {
            ClaimResult::NotEnoughData
        }
    }

    fn sentence(&self) -> String {
        let Estimate { value, low, high, of } = self.figure;
        let Evidence { what, unit, .. } = self;
        format!("{what}: {value:+.1} {unit} ({low:+.1} to {high:+.1}; {of})")
    }
}

pub(crate) fn test_all(set: &RunSet<'_>) -> Vec<ClaimTest> {
    ALL.iter().map(|claim| claim.check(set)).collect()
}

impl Claim {
    fn check(&self, set: &RunSet<'_>) -> ClaimTest {
        let evidence = (self.test)(set);
        let all: Vec<ClaimResult> = evidence.iter().map(Evidence::result).collect();
        let result = match () {
            () if all.contains(&ClaimResult::Fails) => ClaimResult::Fails,
            () if all.is_empty() || all.contains(&ClaimResult::NotEnoughData) => {
                ClaimResult::NotEnoughData
            }
            () => ClaimResult::Holds,
        };
        let evidence = match evidence.is_empty() {
            true => vec![format!("requires {}", self.needs)],
            false => evidence.iter().map(Evidence::sentence).collect(),
        };
        ClaimTest { claim: self.text, section: self.section, result, evidence }
    }
}

pub(crate) fn table(tested: &[ClaimTest]) -> Table {
    let row = |claim: &ClaimTest| {
        vec![
            claim.claim.to_string(),
            claim.section.to_string(),
            claim.result.name().to_string(),
            claim.evidence.join("\n"),
        ]
    };
    Table {
        title: "Claims of the paper, tested on these runs".into(),
        header: ["Claim", "Paper section", "Result", "Evidence"].map(String::from).into(),
        rows: tested.iter().map(row).collect(),
        notes: vec![
            "A claim holds if the whole 95 % interval of every comparison supports it, and fails if \
             the whole interval of any comparison contradicts it. Parentheses: the interval and n. \
             \"No worse\" tolerates a loss of one point, about the noise of one run."
                .into(),
        ],
    }
}

/// Noise of a run in points. A smaller loss does not count.
const NOISE: f64 = 1.0;

/// Chosen groups on method benchmarks.
fn on_methods<'s, 'm>(set: &'s RunSet<'m>) -> Vec<&'s Group<'m>> {
    set.chosen().into_iter().filter(|group| group.benchmark != super::tables::ISSUES).collect()
}

/// Pairs of groups: the first matches `is_first`, the second has the labels that
/// `other` derives from the first's.
fn pairs<'s, 'm>(
    groups: &[&'s Group<'m>],
    is_first: impl Fn(&Labels) -> bool,
    other: impl Fn(&Labels) -> Labels,
) -> Vec<(&'s Group<'m>, &'s Group<'m>)> {
    let firsts = groups.iter().filter(|group| is_first(&group.labels));
    let pair = |first: &&'s Group<'m>| {
        let wanted = other(&first.labels).any_epoch();
        let same = |group: &&&Group<'m>| group.labels.any_epoch() == wanted && group.is_on(first);
        Some((*first, *groups.iter().find(same)?))
    };
    firsts.filter_map(pair).collect()
}

fn in_mode(labels: &Labels, mode: Mode) -> Labels {
    Labels { mode: Some(mode), ..labels.clone() }
}

fn is(labels: &Labels, method: Method) -> bool {
    labels.method == Some(method)
}

#[cfg(test)]
mod tests;
