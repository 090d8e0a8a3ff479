//! Claims on datasets, methods and ranks.

use std::collections::BTreeMap;

use fixfly_benchmarks::metrics::{Estimate, mean_interval};

use super::super::groups::{Group, SEED, gain};
use super::super::labels::{Labels, Method, Mode};
use super::super::measured::by_task;
use super::super::tables::ISSUES;
use super::repair::gains;
use super::{Claim, Evidence, NOISE, in_mode, is, on_methods, pairs};

/// Rows of a small dataset at most: v4, the largest where LoRA was ahead.
const SMALL: u64 = 6_000;

pub(super) const TRAINING_HELPS: Claim = Claim {
    said: "LoRA students solve more than the model they came of",
    section: "5.2.1, 5.5",
    needs: "a LoRA student trained without reasoning and its base model, in one mode",
    test: |set| {
        let groups = on_methods(set);
        let student = |labels: &Labels| is(labels, Method::Lora) && labels.reasoning.is_none();
        gains(&pairs(&groups, student, Labels::base))
    },
};

pub(super) const ROWS_HELP: Claim = Claim {
    said: "More repair rows make better students: the largest small dataset beside the smallest",
    section: "5.2.1",
    needs: "students of one method and mode trained on datasets of different size (rows=…)",
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
    said: "On small datasets (6,000 rows at most) LoRA is no worse than full fine-tuning",
    section: "5.2.2",
    needs: "LoRA and full students of one small dataset, in one mode (rows=…)",
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
    said: "Training narrows the gap between thinking and not thinking",
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
            let what = format!("{}: narrower by", think.labels.shown());
            Some(Evidence::new(what, mean_interval(&values, SEED)?, "points"))
        });
        narrowed.collect()
    },
};

pub(super) const HIGH_RANK: Claim = Claim {
    said: "Ranks above 64 are no better than the best of 16 to 64",
    section: "5.2.3",
    needs: "students of one dataset and mode with a rank above 64 and one of 16 to 64",
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

/// A size in billions, what it gained, and who.
type Gained = (f64, Estimate, String);

pub(super) const SMALL_GAIN_MOST: Claim = Claim {
    said: "Smaller models gain more from training: the smallest of a family beside the largest",
    section: "5.5",
    needs: "students of several sizes of one family and their base models, trained alike",
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
                let what = format!("{} beside {}: gains more", small.2, large.2);
                Evidence::new(what, apart(&small.1, &large.1), "points")
            })
        });
        evidence.collect()
    },
};

/// The difference of two figures, their errors taken as independent.
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
    said: "On issues, LoRA students forget less than full ones",
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
