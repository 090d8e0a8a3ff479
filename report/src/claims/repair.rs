//! Claims about models, turns and reasoning.

use crate::metrics::{Estimate, Share, bootstrap};

use super::super::groups::{Group, SEED, gain, ratio};
use super::super::labels::Mode;
use super::super::tables::words_by_task;
use super::{Claim, Evidence, NOISE as MARGIN, in_mode, on_methods, pairs};

pub(super) const THINKING_HELPS: Claim = Claim {
    text: "Models solve more when they think first",
    section: "5.1",
    needs: "a base model in both modes",
    test: |set| {
        let pairs = pairs(
            &on_methods(set),
            |labels| labels.is_base() && labels.mode == Some(Mode::Think),
            |labels| in_mode(labels, Mode::Nothink),
        );
        gains(&pairs)
    },
};

pub(super) const SIZE_HELPS: Claim = Claim {
    text: "Within a family, larger models solve more",
    section: "5.1",
    needs: "base models of one family in several sizes, in one mode",
    test: |set| {
        let mut groups: Vec<_> =
            on_methods(set).into_iter().filter(|g| g.labels.is_base()).collect();
        groups.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal));
        let neighbours = groups.windows(2).filter(|pair| {
            let [small, large] = [&pair[0].labels, &pair[1].labels];
            (small.family(), small.mode) == (large.family(), large.mode)
                && small.family().is_some()
                && small.billions() < large.billions()
        });
        gains(&neighbours.map(|pair| (pair[1], pair[0])).collect::<Vec<_>>())
    },
};

fn key<'g>(group: &'g Group<'_>) -> (Option<&'g str>, Option<Mode>, Option<f64>) {
    (group.labels.family(), group.labels.mode, group.labels.billions())
}

pub(super) const TWO_TURNS: Claim = Claim {
    text: "Most solved tasks are solved within two turns",
    section: "5.1",
    needs: "runs of more than two turns with a solved task",
    test: |set| {
        let groups = on_methods(set).into_iter().filter(|group| group.turns().len() > 2);
        groups
            .filter_map(|group| {
                let solved = group.attempts().filter_map(|attempt| attempt.solved_at);
                let share = Share::of(solved.map(|at| at <= 2));
                let above = |percent: Option<f64>| Some(percent? - 50.0);
                let figure = Estimate {
                    value: above(share.percent)?,
                    low: above(share.low)?,
                    high: above(share.high)?,
                    of: share.of,
                };
                let what = format!("{}: share of solved, above 50 %", group.labels.shown());
                Some(Evidence::new(what, figure, "points"))
            })
            .collect()
    },
};

pub(super) const NOISE: Claim = Claim {
    text: "Repeats of a base model differ by less than one point (σ)",
    section: "4.1.3",
    needs: "three repeats of a base model",
    test: |set| {
        let groups =
            on_methods(set).into_iter().filter(|g| g.labels.is_base() && g.repeats.len() > 2);
        groups.filter_map(spare_noise).collect()
    },
};

/// One point minus σ, bootstrapped over repeats.
fn spare_noise(group: &Group<'_>) -> Option<Evidence> {
    let solved = |repeat: &Vec<_>| {
        let is = |attempt: &&super::super::run_metrics::Attempt| attempt.solved_at.is_some();
        Share::of(repeat.iter().map(is)).percent
    };
    let percents: Vec<f64> = group.repeats.iter().filter_map(solved).collect();
    let spare = bootstrap(percents.len(), SEED, |drawn| {
        let drawn: Vec<f64> = drawn.iter().map(|&at| percents[at]).collect();
        Some(1.0 - crate::metrics::spread(&drawn)?.sigma)
    })?;
    let what = format!("{}: 1 − σ of {} repeats", group.labels.shown(), percents.len());
    Some(Evidence::new(what, spare, "points"))
}

pub(super) const REASONING_ADDS_NOTHING: Claim = Claim {
    text: "Students trained with reasoning solve no more than students trained without",
    section: "5.3",
    needs: "students trained with and without reasoning on one dataset, in one mode",
    test: |set| {
        let pairs = pairs(
            &on_methods(set),
            |labels| labels.reasoning.is_some() && !labels.hybrid,
            |labels| super::Labels { reasoning: None, short: false, ..labels.clone() },
        );
        let turned: Vec<_> = pairs.iter().map(|(with, without)| (*without, *with)).collect();
        gains(&turned).into_iter().map(|evidence| evidence.no_worse_by(MARGIN)).collect()
    },
};

pub(super) const SHORTER: Claim = Claim {
    text: "Students trained with reasoning reason more briefly than their base model",
    section: "5.3.2",
    needs: "a student trained with reasoning and its base model, both in think mode",
    test: |set| {
        let groups = on_methods(set);
        let students = groups.iter().filter(|group| group.labels.reasoning.is_some());
        students
            .filter_map(|student| {
                let base = set.find(&student.labels.base(), student)?;
                let left = ratio(&words_by_task(student), &words_by_task(base))?;
                let saved = |left: f64| 100.0 * (1.0 - left);
                let figure = Estimate {
                    value: saved(left.value),
                    low: saved(left.high),
                    high: saved(left.low),
                    of: left.of,
                };
                Some(Evidence::new(
                    format!("{}: reduction", student.labels.shown()),
                    figure,
                    "% of the words",
                ))
            })
            .collect()
    },
};

/// The gain of the first group of each pair over the second.
pub(super) fn gains(pairs: &[(&Group<'_>, &Group<'_>)]) -> Vec<Evidence> {
    let evidence = |(one, other): &(&Group<'_>, &Group<'_>)| {
        let what = format!("{} vs. {}", one.labels.shown(), other.labels.shown());
        Some(Evidence::new(what, gain(one, other)?, "points"))
    };
    pairs.iter().filter_map(evidence).collect()
}
