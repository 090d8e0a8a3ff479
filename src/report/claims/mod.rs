//! The thesis' findings as predicates over runs: whether they hold in these.

mod code;
mod repair;
mod training;

use fixfly_benchmarks::metrics::Estimate;
use serde::Serialize;

use super::groups::{Group, Set};
use super::labels::{Labels, Method, Mode};
use super::sheets::Table;

/// A finding, and how it is tested.
struct Claim {
    /// In a sentence.
    said: &'static str,
    /// Where the thesis says it.
    section: &'static str,
    /// What runs it takes.
    needs: &'static str,
    test: fn(&Set<'_>) -> Vec<Evidence>,
}

/// Every claim, in the thesis' order.
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

/// One comparison that a claim rests on.
struct Evidence {
    /// What was compared.
    what: String,
    /// The figure that the claim says is above zero.
    figure: Estimate,
    /// In what: `points`.
    unit: &'static str,
    /// How far below zero still counts as no loss.
    margin: f64,
}

/// What the runs say to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClaimResult {
    /// Every comparison's whole interval is on its side.
    Holds,
    /// Some comparison's whole interval is on the other side.
    Fails,
    /// No comparison, or one whose interval has both sides.
    NotEnoughData,
}

/// A claim, tested.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Tested {
    pub(crate) claim: &'static str,
    pub(crate) section: &'static str,
    pub(crate) says: ClaimResult,
    /// The numbers and the intervals it rests on, or what is missing.
    pub(crate) because: Vec<String>,
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

    /// A claim that something is no worse: a loss below `margin` is none.
    fn no_worse_by(self, margin: f64) -> Self {
        Evidence { margin, ..self }
    }

    fn says(&self) -> ClaimResult {
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

pub(crate) fn tested(set: &Set<'_>) -> Vec<Tested> {
    ALL.iter().map(|claim| claim.tested(set)).collect()
}

impl Claim {
    fn tested(&self, set: &Set<'_>) -> Tested {
        let evidence = (self.test)(set);
        let all: Vec<ClaimResult> = evidence.iter().map(Evidence::says).collect();
        let says = match () {
            () if all.contains(&ClaimResult::Fails) => ClaimResult::Fails,
            () if all.is_empty() || all.contains(&ClaimResult::NotEnoughData) => {
                ClaimResult::NotEnoughData
            }
            () => ClaimResult::Holds,
        };
        let because = match evidence.is_empty() {
            true => vec![format!("it needs {}", self.needs)],
            false => evidence.iter().map(Evidence::sentence).collect(),
        };
        Tested { claim: self.said, section: self.section, says, because }
    }
}

pub(crate) fn sheet(tested: &[Tested]) -> Table {
    let row = |claim: &Tested| {
        vec![
            claim.claim.to_string(),
            claim.section.to_string(),
            claim.says.name().to_string(),
            claim.because.join("\n"),
        ]
    };
    Table {
        title: "the thesis' claims, in these runs".into(),
        header: ["claim", "thesis", "here", "because"].map(String::from).into(),
        rows: tested.iter().map(row).collect(),
        notes: vec![
            "A claim holds where the whole 95 % interval of each comparison is on its side, and \
             fails where that of one is on the other side. In brackets: the interval and how many \
             tasks it rests on. \"No worse\" allows a loss of one point, about the noise of a run."
                .into(),
        ],
    }
}

/// Noise of a run in points: what a loss must exceed to count.
const NOISE: f64 = 1.0;

/// Students and base models on benchmarks of methods.
fn on_methods<'s, 'm>(set: &'s Set<'m>) -> Vec<&'s Group<'m>> {
    set.chosen().into_iter().filter(|group| group.benchmark != super::tables::ISSUES).collect()
}

/// Each pair of groups whose labels are equal after a change: the first by the change.
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
