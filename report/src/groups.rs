//! Groups of runs with the same configuration, and their solve rates.

use std::collections::BTreeMap;

use crate::metrics::{Estimate, Share, SolvedAt, Spread, bootstrap, solved, spread};

use super::labels::Labels;
use super::run_metrics::{Attempt, RunMetrics, by_task};

const VALIDATION: &str = "validation";

/// Seed of all bootstrap intervals.
pub(crate) const SEED: u64 = 0;

/// The checkpoint that represents a training run in the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checkpoint {
    /// Best on the validation split; the last if there are no validation runs
    #[default]
    Validation,
    /// Last
    Last,
    /// Best on the benchmark itself, as in the paper; biased upwards
    Best,
}

/// All runs of one configuration on one benchmark. Each sample of each run is one
/// repeat.
pub(crate) struct Group<'m> {
    pub(crate) labels: Labels,
    pub(crate) benchmark: &'m str,
    pub(crate) split: &'m str,
    /// Names of the runs.
    pub(crate) runs: Vec<&'m str>,
    pub(crate) repeats: Vec<Vec<&'m Attempt>>,
}

/// A solve rate with its interval.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rate {
    pub(crate) percent: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Over repeats; `None` for a single one.
    pub(crate) spread: Option<Spread>,
    pub(crate) tasks: usize,
    pub(crate) episodes: usize,
}

impl<'m> Group<'m> {
    /// Whether both groups have the same benchmark and split.
    pub(crate) fn is_on(&self, other: &Group<'_>) -> bool {
        (self.benchmark, self.split) == (other.benchmark, other.split)
    }

    pub(crate) fn attempts(&self) -> impl Iterator<Item = &'m Attempt> + '_ {
        self.repeats.iter().flatten().copied()
    }

    /// Share of tasks solved by a turn, or by the last turn for `None`.
    pub(crate) fn rate(&self, turn: Option<usize>) -> Option<Rate> {
        let by = |attempt: &Attempt| {
            attempt.solved_at.is_some_and(|at| turn.is_none_or(|turn| at <= turn))
        };
        let shares: Vec<Share> =
            self.repeats.iter().map(|repeat| Share::of(repeat.iter().map(|a| by(a)))).collect();
        let percents: Vec<f64> = shares.iter().filter_map(|share| share.percent).collect();
        let tasks: Vec<f64> = by_task(self.attempts(), |a| f64::from(by(a)))
            .into_values()
            .map(|v| 100.0 * v)
            .collect();
        let (percent, low, high) = match shares.as_slice() {
            // One repeat is a proportion with a Wilson interval. The mean of several is not.
            [one] => (one.percent?, one.low?, one.high?),
            _ => {
                let mean = mean_of(&tasks)?;
                (mean.value, mean.low, mean.high)
            }
        };
        let episodes = self.attempts().count();
        Some(Rate { percent, low, high, spread: spread(&percents), tasks: tasks.len(), episodes })
    }

    /// Solved by turn, over all repeats.
    pub(crate) fn turns(&self) -> Vec<SolvedAt> {
        let at: Vec<_> = self.attempts().map(|attempt| attempt.solved_at).collect();
        solved(&at, self.attempts().map(|attempt| attempt.turns).max().unwrap_or(0))
    }
}

pub(crate) fn mean_of(values: &[f64]) -> Option<Estimate> {
    crate::metrics::mean_interval(values, SEED)
}

/// Difference of the solve rates in points, over the tasks that both attempted.
pub(crate) fn gain(one: &Group<'_>, other: &Group<'_>) -> Option<Estimate> {
    difference(one, other, |attempt| 100.0 * f64::from(attempt.solved_at.is_some()))
}

/// Mean paired difference of a value over the tasks that both attempted.
pub(crate) fn difference(
    one: &Group<'_>,
    other: &Group<'_>,
    figure: impl Fn(&Attempt) -> f64,
) -> Option<Estimate> {
    let ones = by_task(one.attempts(), &figure);
    let others = by_task(other.attempts(), &figure);
    let differences: Vec<f64> =
        ones.iter().filter_map(|(task, value)| Some(value - others.get(task)?)).collect();
    mean_of(&differences)
}

/// Ratio of two means over the tasks with both values.
pub(crate) fn ratio(ones: &BTreeMap<&str, f64>, others: &BTreeMap<&str, f64>) -> Option<Estimate> {
    let pairs: Vec<(f64, f64)> =
        ones.iter().filter_map(|(task, value)| Some((*value, *others.get(task)?))).collect();
    bootstrap(pairs.len(), SEED, |drawn| {
        let (one, other) = drawn
            .iter()
            .fold((0.0, 0.0), |(one, other), &at| (one + pairs[at].0, other + pairs[at].1));
        (other > 0.0).then_some(one / other)
    })
}

/// All groups of a report, and the rule that chooses between checkpoints.
pub(crate) struct RunSet<'m> {
    pub(crate) groups: Vec<Group<'m>>,
    pub(crate) choice: Checkpoint,
    /// Why reference methods cannot be read, by run.
    pub(crate) no_truth: Vec<String>,
}

impl<'m> RunSet<'m> {
    pub(crate) fn of(measured: &'m [RunMetrics], choice: Checkpoint) -> Self {
        let mut groups: Vec<Group<'m>> = Vec::new();
        for run in measured {
            let place = groups.iter().position(|group| {
                (&group.labels, group.benchmark, group.split)
                    == (&run.labels, &*run.benchmark, &*run.split)
            });
            let place = place.unwrap_or_else(|| {
                groups.push(Group {
                    labels: run.labels.clone(),
                    benchmark: &run.benchmark,
                    split: &run.split,
                    runs: Vec::new(),
                    repeats: Vec::new(),
                });
                groups.len() - 1
            });
            let mut samples: BTreeMap<u32, Vec<&Attempt>> = BTreeMap::new();
            for attempt in &run.attempts {
                samples.entry(attempt.sample).or_default().push(attempt);
            }
            groups[place].runs.push(&run.run);
            groups[place].repeats.extend(samples.into_values());
        }
        groups.retain(|group| !group.repeats.is_empty());
        let mut no_truth: Vec<String> =
            measured.iter().filter_map(|run| run.no_truth.clone()).collect();
        no_truth.dedup();
        RunSet { groups, choice, no_truth }
    }

    /// Groups to report. Omits controls, which only the table `students` shows, and validation
    /// groups whose training was also evaluated on another split: they only choose the
    /// checkpoint.
    pub(crate) fn reported(&self) -> impl Iterator<Item = &Group<'m>> {
        let elsewhere = |group: &Group<'_>| {
            let same = |other: &Group<'_>| {
                other.labels.any_epoch() == group.labels.any_epoch() && other.split != VALIDATION
            };
            self.groups.iter().any(same)
        };
        let usual = self.groups.iter().filter(|group| group.labels.control.is_none());
        usual.filter(move |group| group.split != VALIDATION || !elsewhere(group))
    }

    /// One group per training run: the chosen checkpoint.
    pub(crate) fn chosen(&self) -> Vec<&Group<'m>> {
        let mut chosen: Vec<&Group<'m>> = Vec::new();
        for group in self.reported() {
            let same = |other: &&Group<'m>| {
                other.labels.any_epoch() == group.labels.any_epoch() && other.is_on(group)
            };
            match chosen.iter().position(same) {
                None => chosen.push(group),
                Some(place)
                    if self.checkpoint_score(group) > self.checkpoint_score(chosen[place]) =>
                {
                    chosen[place] = group
                }
                Some(_) => {}
            }
        }
        chosen
    }

    /// Sort key of the checkpoints of one training run. The highest is chosen.
    fn checkpoint_score(&self, group: &Group<'m>) -> (f64, u32) {
        let rate = |group: &Group<'_>| group.rate(None).map_or(-1.0, |rate| rate.percent);
        let epoch = group.labels.epoch.unwrap_or(0);
        let on_validation = || {
            let same =
                |other: &&Group<'_>| other.split == "validation" && other.labels == group.labels;
            self.groups.iter().find(same).map_or(-1.0, rate)
        };
        match self.choice {
            Checkpoint::Last => (0.0, epoch),
            Checkpoint::Best => (rate(group), epoch),
            Checkpoint::Validation => (on_validation(), epoch),
        }
    }

    /// Whether several checkpoints of one training ran on the validation split.
    fn is_validated(&self) -> bool {
        let usual = |group: &&Group<'_>| group.labels.control.is_none();
        let of = || self.groups.iter().filter(usual).filter(|group| group.split == VALIDATION);
        let same = |one: &Group<'_>, other: &Group<'_>| {
            one.labels != other.labels && one.labels.any_epoch() == other.labels.any_epoch()
        };
        self.choice == Checkpoint::Validation && of().any(|one| of().any(|other| same(one, other)))
    }

    /// A note on the choice of checkpoints, if there was a choice.
    pub(crate) fn how_chosen(&self) -> Option<String> {
        let reported = self.reported().count();
        if self.chosen().len() == reported && !self.is_validated() {
            return None;
        }
        let validation = self.groups.iter().any(|group| group.split == VALIDATION);
        Some(match self.choice {
            Checkpoint::Best => {
                "Checkpoints: best on this benchmark itself, so their results are biased upwards."
                    .into()
            }
            Checkpoint::Validation if validation => {
                "Checkpoints: best on the validation split.".into()
            }
            _ => "Checkpoints: last of each training run. `--table checkpoints` lists all.".into(),
        })
    }

    /// The chosen group with these labels on the benchmark of `like`.
    pub(crate) fn find(&self, labels: &Labels, like: &Group<'_>) -> Option<&Group<'m>> {
        let same = |group: &&&Group<'m>| {
            group.labels.any_epoch() == labels.any_epoch() && group.is_on(like)
        };
        self.chosen().iter().find(same).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{attempt, run};
    use super::*;
    use crate::labels::Method;

    fn labels(epoch: Option<u32>) -> Labels {
        Labels { method: Some(Method::Lora), epoch, ..Labels::default() }
    }

    fn solved_of(count: usize) -> Vec<Attempt> {
        (0..4).map(|at| attempt(&format!("t{at}"), (at < count).then_some(1))).collect()
    }

    #[test]
    fn runs_of_one_configuration_are_grouped() {
        let runs = [
            run(labels(None), "benchmark", solved_of(1)),
            run(labels(None), "benchmark", solved_of(3)),
        ];
        let set = RunSet::of(&runs, Checkpoint::Last);
        let [group] = set.groups.as_slice() else { panic!("one group") };
        let rate = group.rate(None).unwrap();
        assert_eq!((rate.percent, rate.tasks, rate.episodes), (50.0, 4, 8));
        assert_eq!(rate.spread.unwrap().sigma, 1250f64.sqrt());
    }

    #[test]
    fn checkpoint_rules() {
        let runs = [
            run(labels(Some(1)), "benchmark", solved_of(3)),
            run(labels(Some(2)), "benchmark", solved_of(2)),
            run(labels(Some(3)), "benchmark", solved_of(1)),
            run(labels(Some(2)), "validation", solved_of(4)),
        ];
        #[track_caller]
        fn check(runs: &[RunMetrics], choice: Checkpoint, expected: u32) {
            let set = RunSet::of(runs, choice);
            let chosen: Vec<_> = set.chosen().iter().map(|group| group.labels.epoch).collect();
            assert_eq!(chosen, [Some(expected)]);
            assert!(set.how_chosen().is_some());
        }
        check(&runs, Checkpoint::Validation, 2);
        check(&runs, Checkpoint::Last, 3);
        check(&runs, Checkpoint::Best, 1);
        check(&runs[..3], Checkpoint::Validation, 3);
    }

    #[test]
    fn gains_are_paired_by_task() {
        let runs = [
            run(labels(None), "benchmark", solved_of(3)),
            run(Labels::default(), "benchmark", solved_of(1)),
        ];
        let set = RunSet::of(&runs, Checkpoint::Last);
        let gain = gain(&set.groups[0], &set.groups[1]).unwrap();
        assert_eq!((gain.value, gain.of), (50.0, 4));
        assert!(gain.low >= 0.0 && gain.high <= 100.0);
    }
}
