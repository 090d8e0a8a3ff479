//! Comparison of two configurations on the same tasks.

use std::collections::BTreeMap;

use crate::metrics::McNemar;
use serde::Serialize;

use super::cells;
use super::groups::{Group, RunSet, difference, ratio};
use super::run_metrics::{Attempt, by_task};
use super::run_tables::Table;
use super::tables::words_by_task;
use crate::error::ReportError;

/// A comparison of two configurations. Differences are second − first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Comparison {
    pub(crate) first: String,
    pub(crate) second: String,
    /// Over pairs of episodes of one task, by index of the repeat.
    pub(crate) mcnemar: McNemar,
    /// Measure, first, second, difference with its interval, n.
    pub(crate) figures: Vec<[String; 5]>,
    /// Tasks that only the first solved in any repeat.
    pub(crate) only_first: Vec<String>,
    /// Tasks that only the second solved in any repeat.
    pub(crate) only_second: Vec<String>,
}

/// Maximum number of tasks to list.
const NAMED: usize = 20;

impl Comparison {
    pub(crate) fn of(set: &RunSet<'_>) -> Result<Self, ReportError> {
        let groups: Vec<&Group<'_>> = set.groups.iter().collect();
        let [first, second] = groups.as_slice() else {
            let found = groups.iter().map(|group| group.labels.shown());
            return Err(ReportError::NotTwo(found.collect()));
        };
        if first.benchmark != second.benchmark {
            let [one, other] = [first, second].map(|group| group.benchmark.to_string());
            return Err(ReportError::TwoBenchmarks(one, other));
        }
        let outcomes = |group: &Group<'_>| -> BTreeMap<(String, usize), bool> {
            let of = |(at, repeat): (usize, &Vec<&Attempt>)| {
                let keyed =
                    repeat.iter().map(|a| ((a.task.to_string(), at), a.solved_at.is_some()));
                keyed.collect::<Vec<_>>()
            };
            group.repeats.iter().enumerate().flat_map(of).collect()
        };
        let (ones, others) = (outcomes(first), outcomes(second));
        let pairs = ones.iter().filter_map(|(key, one)| Some((*one, *others.get(key)?)));
        Ok(Comparison {
            mcnemar: McNemar::of(pairs),
            figures: figures(first, second),
            only_first: only(&ones, &others),
            only_second: only(&others, &ones),
            first: name(first),
            second: name(second),
        })
    }

    pub(crate) fn tables(&self) -> Vec<Table> {
        let McNemar { both, only_first, only_second, neither, p } = self.mcnemar;
        let strings = |cells: &[&str]| cells.iter().map(|c| (*c).to_string()).collect::<Vec<_>>();
        let solved = Table {
            title: format!("Solved: {} (first) vs. {} (second)", self.first, self.second),
            header: strings(&["Both", "Only first", "Only second", "Neither", "n", "McNemar p"]),
            rows: vec![vec![
                both.to_string(),
                only_first.to_string(),
                only_second.to_string(),
                neither.to_string(),
                self.mcnemar.pairs().to_string(),
                format!("{p:.4}"),
            ]],
            notes: strings(&["n: pairs of episodes of the same task. p: exact, two-sided."]),
        };
        let figures = Table {
            title: "Differences over the tasks that both attempted".into(),
            header: strings(&["Measure", "First", "Second", "Second − first", "n"]),
            rows: self.figures.iter().map(|row| row.to_vec()).collect(),
            notes: strings(&["Parentheses: 95 % intervals, bootstrap over tasks."]),
        };
        let tasks = |only: &[String]| {
            let more = only.len().saturating_sub(NAMED);
            let mut named = only.iter().take(NAMED).cloned().collect::<Vec<_>>();
            named.extend(
                (more > 0).then(|| format!("and {more} more; use --format json to list all")),
            );
            named
        };
        let rows = [("first", &self.only_first), ("second", &self.only_second)];
        let rows = rows.iter().flat_map(|(who, only)| {
            tasks(only).into_iter().map(move |task| vec![format!("only {who}"), task])
        });
        let differing = Table {
            title: "Tasks solved by only one configuration".into(),
            header: strings(&["Solved by", "Task"]),
            rows: rows.collect(),
            notes: Vec::new(),
        };
        let tables = [solved, figures, differing].into_iter();
        tables.filter(|table| !table.rows.is_empty()).collect()
    }
}

fn name(group: &Group<'_>) -> String {
    format!("{} ({})", group.labels.shown(), group.runs.join(", "))
}

fn only(
    ones: &BTreeMap<(String, usize), bool>,
    others: &BTreeMap<(String, usize), bool>,
) -> Vec<String> {
    let solved = |all: &BTreeMap<(String, usize), bool>, task: &str| {
        all.iter().any(|((of, _), solved)| of == task && *solved)
    };
    let mut tasks: Vec<String> = ones
        .iter()
        .filter(|(key, solved)| **solved && others.contains_key(*key))
        .map(|((task, _), _)| task.clone())
        .filter(|task| !solved(others, task))
        .collect();
    tasks.dedup();
    tasks
}

fn figures(first: &Group<'_>, second: &Group<'_>) -> Vec<[String; 5]> {
    let mean = |group: &Group<'_>, other: &Group<'_>, figure: &dyn Fn(&Attempt) -> f64| {
        let (ones, others) = (by_task(group.attempts(), figure), by_task(other.attempts(), figure));
        let both = ones.into_iter().filter(|(task, _)| others.contains_key(task));
        cells::number(crate::metrics::mean(&both.map(|(_, v)| v).collect::<Vec<_>>()))
    };
    let row = |name: &str, figure: &dyn Fn(&Attempt) -> f64| {
        let difference = difference(second, first, figure);
        let of = difference.map_or(0, |difference| difference.of);
        [
            name.to_string(),
            mean(first, second, figure),
            mean(second, first, figure),
            cells::gain(&difference),
            format!("{of} tasks"),
        ]
    };
    let solved_by = |turn: usize| {
        move |attempt: &Attempt| 100.0 * f64::from(attempt.solved_at.is_some_and(|at| at <= turn))
    };
    let mut rows = vec![
        row("solved by turn 1, %", &solved_by(1)),
        row("solved by turn 2, %", &solved_by(2)),
        row("solved by the last turn, %", &solved_by(usize::MAX)),
        row("failing turns", &|attempt| attempt.errors.len() as f64),
        row("tokens", &|attempt| attempt.tokens as f64),
        row("seconds", &|attempt| attempt.seconds),
    ];
    let (ones, others) = (words_by_task(first), words_by_task(second));
    if let Some(ratio) = ratio(&others, &ones) {
        rows.push([
            "words of reasoning per turn, second / first".into(),
            String::new(),
            String::new(),
            cells::score(&Some(ratio)),
            format!("{} tasks", ratio.of),
        ]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{attempt, run};
    use super::super::groups::Checkpoint;
    use super::super::labels::Labels;
    use super::super::run_tables;
    use super::*;

    #[test]
    fn two_runs_are_compared_by_task() {
        let named = |name: &str| Labels { model: Some(name.into()), ..Labels::default() };
        let solved = |times: &[usize]| {
            let each = times.iter().enumerate();
            each.map(|(at, turn)| attempt(&format!("t{at}"), (*turn > 0).then_some(*turn)))
                .collect()
        };
        let runs = [
            run(named("A"), "benchmark", solved(&[1, 0, 0, 2, 0])),
            run(named("B"), "benchmark", solved(&[1, 1, 3, 0, 0, 1])),
        ];
        let comparison = Comparison::of(&RunSet::of(&runs, Checkpoint::Last)).unwrap();
        assert_eq!((comparison.mcnemar.only_second, comparison.mcnemar.pairs()), (2, 5));
        assert_eq!(
            (&*comparison.only_first, &*comparison.only_second),
            (&["t3".into()][..], &["t1".into(), "t2".into()][..])
        );
        let text: Vec<String> =
            comparison.tables().iter().map(|table| run_tables::render(table, None)).collect();
        insta::assert_snapshot!(text.join("\n\n"));
    }

    #[test]
    fn one_configuration_is_not_two() {
        let runs = [run(Labels::default(), "benchmark", vec![attempt("t", None)])];
        let error = Comparison::of(&RunSet::of(&runs, Checkpoint::Last)).unwrap_err().to_string();
        assert!(error.contains("found 1"), "{error}");
    }
}
