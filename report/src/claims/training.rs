//! Claims about datasets, training methods and ranks.

use std::collections::BTreeMap;

use crate::metrics::{Estimate, mean_interval};

use super::super::groups::{Group, SEED, gain};
use super::super::labels::{Labels, Method, Mode};
use super::super::run_metrics::by_task;
use super::super::tables::ISSUES;
use super::repair::gains;
use super::{Claim, Evidence, NOISE, in_mode, is, on_methods, pairs};

/// Maximum rows of a small dataset: v4 is the largest on which LoRA was ahead in the paper.
const SMALL: u64 = 6_000;

pub(super) const TRAINING_HELPS: Claim = Claim {
    text: "LoRA students solve more than their base model",
    section: "5.2.1, 5.5",
    needs: "a LoRA student trained without reasoning and its base model, in one mode",
    test: |set| {
        let groups = on_methods(set);
        let student = |labels: &Labels| is(labels, Method::Lora) && labels.reasoning.is_none();
        gains(&pairs(&groups, student, Labels::base))
    },
};

pub(super) const ROWS_HELP: Claim = Claim {
    text: "More repair rows make better students: largest vs. smallest of the small datasets",
    section: "5.2.1",
    needs: "students of one method and mode trained on datasets of different sizes (rows=…)",
    test: |set| {
        let groups = on_methods(set);
        let small = |group: &&Group<'_>| {
            group.labels.rows.is_some_and(|rows| rows <= SMALL) && group.labels.reasoning.is_none()
        };
        let mut lines: BTreeMap<Labels, Vec<&Group<'_>>> = BTreeMap::new();
        for group in groups.into_iter().filter(small) {
            let line = Labels { dataset: None, rows: None, ..group.labels.any_epoch() };
            lines.entry(line).or_default().push(group);
        }
        let ends = lines.values_mut().filter_map(|line| {
            line.sort_by_key(|group| group.labels.rows);
            let (first, last) = (*line.first()?, *line.last()?);
            (first.labels.rows < last.labels.rows).then_some((last, first))
        });
        gains(&ends.collect::<Vec<_>>())
    },
};

pub(super) const LORA_ON_SMALL: Claim = Claim {
    text: "On small datasets (at most 6,000 rows), LoRA is no worse than full fine-tuning",
    section: "5.2.2",
    needs: "LoRA and full students of one small dataset (rows=…), in one mode",
    test: |set| {
        let groups = on_methods(set);
        let small = |labels: &Labels| {
            is(labels, Method::Lora) && labels.rows.is_some_and(|rows| rows <= SMALL)
        };
        let full =
            |labels: &Labels| Labels { method: Some(Method::Full), rank: None, ..labels.clone() };
        gains(&pairs(&groups, small, full)).into_iter().map(|e| e.no_worse_by(NOISE)).collect()
    },
};

pub(super) const GAP_NARROWS: Claim = Claim {
    text: "Training narrows the gap between think and no-think mode",
    section: "5.2.1",
    needs: "a student trained without reasoning and its base model, each in both modes",
    test: |set| {
        let groups = on_methods(set);
        let student = |labels: &Labels| {
            !labels.is_base() && labels.reasoning.is_none() && labels.mode == Some(Mode::Think)
        };
        let students = pairs(&groups, student, |labels| in_mode(labels, Mode::Nothink));
        let narrowed = students.iter().filter_map(|(think, nothink)| {
            let base = set.find(&think.labels.base(), think)?;
            let base_nothink = set.find(&nothink.labels.base(), nothink)?;
            // (base think − base no-think) − (think − no-think), task by task.
            let solved = [base, base_nothink, *think, *nothink].map(|group| {
                by_task(group.attempts(), |attempt| 100.0 * f64::from(attempt.solved_at.is_some()))
            });
            let narrowed = |task: &&str| {
                let [a, b, c, d] = [0, 1, 2, 3].map(|at| solved[at].get(task).copied());
                Some((a? - b?) - (c? - d?))
            };
            let values: Vec<f64> = solved[0].keys().filter_map(narrowed).collect();
            let what = format!("{}: gap narrows by", think.labels.shown());
            Some(Evidence::new(what, mean_interval(&values, SEED)?, "points"))
        });
        narrowed.collect()
    },
};

pub(super) const HIGH_RANK: Claim = Claim {
    text: "Ranks above 64 are no better than the best rank from 16 to 64",
    section: "5.2.3",
    needs: "students of one dataset and mode with a rank above 64 and a rank from 16 to 64",
    test: |set| {
        let groups = on_methods(set);
        let ranked = |labels: &Labels| Labels { rank: None, ..labels.any_epoch() };
        let high = groups.iter().filter(|g| g.labels.rank.is_some_and(|rank| rank > 64));
        let pairs = high.filter_map(|high| {
            let moderate = groups.iter().filter(|group| {
                group.labels.rank.is_some_and(|rank| (16..=64).contains(&rank))
                    && ranked(&group.labels) == ranked(&high.labels)
            });
            let percent = |group: &&&Group<'_>| group.rate(None).map_or(-1.0, |rate| rate.percent);
            let best = moderate.max_by(|a, b| percent(a).total_cmp(&percent(b)))?;
            Some((*best, *high))
        });
        gains(&pairs.collect::<Vec<_>>()).into_iter().map(|e| e.no_worse_by(NOISE)).collect()
    },
};

/// Billions of parameters, gain, and name of a student.
type Gained = (f64, Estimate, String);

pub(super) const SMALL_GAIN_MOST: Claim = Claim {
    text: "Smaller models gain more from training: smallest vs. largest of a family",
    section: "5.5",
    needs: "students of several sizes of one family, trained identically, and their base models",
    test: |set| {
        let groups = on_methods(set);
        let student = |labels: &Labels| !labels.is_base() && labels.reasoning.is_none();
        let mut lines: BTreeMap<(Option<String>, Labels), Vec<Gained>> = BTreeMap::new();
        for (trained, base) in pairs(&groups, student, Labels::base) {
            let Some((size, gain)) = trained.labels.billions().zip(gain(trained, base)) else {
                continue;
            };
            let line = Labels { model: None, ..trained.labels.any_epoch() };
            let family = trained.labels.family().map(String::from);
            lines.entry((family, line)).or_default().push((size, gain, trained.labels.shown()));
        }
        let evidence = lines.into_values().filter_map(|mut line| {
            line.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (small, large) = (line.first()?, line.last()?);
            (small.0 < large.0).then(|| {
                let what = format!("{} vs. {}: difference in gain", small.2, large.2);
                Evidence::new(what, apart(&small.1, &large.1), "points")
            })
        });
        evidence.collect()
    },
};

/// The difference of two estimates with independent errors.
fn apart(one: &Estimate, other: &Estimate) -> Estimate {
    let value = one.value - other.value;
    let reach = |a: f64, b: f64| a.hypot(b);
    Estimate {
        value,
        low: value - reach(one.value - one.low, other.high - other.value),
        high: value + reach(one.high - one.value, other.value - other.low),
        of: one.of.min(other.of),
    }
}

pub(super) const FORGETTING: Claim = Claim {
    text: "LoRA students forget less than full students: issues resolved",
    section: "5.5.1",
    needs: "LoRA and full students of one dataset on the benchmark swebench",
    test: |set| {
        let groups: Vec<_> = set.chosen().into_iter().filter(|g| g.benchmark == ISSUES).collect();
        let lora = |labels: &Labels| is(labels, Method::Lora);
        let full =
            |labels: &Labels| Labels { method: Some(Method::Full), rank: None, ..labels.clone() };
        gains(&pairs(&groups, lora, full))
    },
};
