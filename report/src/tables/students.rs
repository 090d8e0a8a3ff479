//! Students beside their base models and their controls, which are the same students with
//! other flags, such as independent samples or no feedback.

use std::collections::BTreeMap;

use super::super::cells;
use super::super::groups::{Group, RunSet, mean_of};
use super::super::labels::{Labels, Method};
use super::super::run_metrics::{Attempt, by_task};
use super::{Entry, Filled, INTERVALS, header, methods};

pub(super) const ENTRY: Entry = Entry {
    name: "students",
    number: None,
    title: "Students, their base models and controls: solved, %, and gains in points",
    needs: "runs of students (method=lora or method=full)",
    fill,
};

const NOTE: &str = "First answer: solved at turn 1, or the mean over samples. All answers: solved \
                    by the last turn, or by any sample. Differences are paired by task, in points.";

fn fill(set: &RunSet<'_>) -> Filled {
    let chosen = methods(set);
    let is_chosen = |group: &Group<'_>| chosen.iter().any(|one| std::ptr::eq(*one, group));
    let trained =
        |group: &&Group<'_>| matches!(group.labels.method, Some(Method::Lora | Method::Full));
    let models: Vec<_> = chosen.iter().copied().filter(trained).map(|g| &g.labels.model).collect();
    let controls: Vec<&Group<'_>> =
        set.groups.iter().filter(|group| group.labels.control.is_some()).collect();
    let shown = |group: &&Group<'_>| {
        (is_chosen(group) && models.contains(&&group.labels.model))
            || group.labels.control.is_some()
            || controls.iter().any(|control| is_without(group, control))
    };
    let mut groups: Vec<&Group<'_>> = set.groups.iter().filter(shown).collect();
    groups.sort_by(|a, b| (&a.labels, a.split).cmp(&(&b.labels, b.split)));
    let rows = groups.iter().map(|group| {
        let (labels, all) = (&group.labels, solved(group, Answers::All));
        let against = |other: Option<&Group<'_>>| {
            let other = other.map(|other| solved(other, Answers::All));
            cells::gain(&other.and_then(|other| difference(&all, &other)))
        };
        let base = set.find(&labels.base(), group).filter(|_| !labels.is_base());
        let without = set.groups.iter().rfind(|other| is_without(other, group));
        let first = solved(group, Answers::First);
        let kind = match samples(group) {
            1 => format!("{} turns", group.turns().len()),
            several => format!("{several} samples"),
        };
        let values = |map: &BTreeMap<&str, f64>| map.values().copied().collect::<Vec<_>>();
        let whole = match (samples(group) > 1, mean_of(&values(&all))) {
            (true, Some(mean)) => format!("{:.1} ({:.1}–{:.1})", mean.value, mean.low, mean.high),
            _ => cells::rate(&group.rate(None)),
        };
        vec![
            format!("{} {}", labels.model_name(), labels.training()),
            labels.mode_name().into(),
            group.split.into(),
            kind,
            cells::number(crate::metrics::mean(&values(&first))),
            whole,
            cells::gain(&difference(&all, &first)),
            against(base),
            against(without),
            format!("{} tasks", all.len()),
        ]
    });
    let columns = [
        "Student",
        "Mode",
        "Split",
        "Episodes",
        "First answer",
        "All answers",
        "Later answers add",
        "Over the base model",
        "Over the student without control",
        "n",
    ];
    let mut notes = vec![NOTE.into(), INTERVALS.into()];
    notes.extend(set.how_chosen());
    Filled { header: header(&columns), rows: rows.collect(), notes }
}

/// Whether a group is the usual run of the student of this control.
fn is_without(group: &Group<'_>, control: &Group<'_>) -> bool {
    let usual = Labels { control: None, ..control.labels.any_epoch() };
    control.labels.control.is_some() && group.labels.any_epoch() == usual && group.is_on(control)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    First,
    All,
}

/// Independent samples of one turn in each run; 1 if the episodes have turns.
fn samples(group: &Group<'_>) -> usize {
    match group.turns().len() {
        1 => (group.repeats.len() / group.runs.len().max(1)).max(1),
        _ => 1,
    }
}

/// For each task, 100 if it is solved by these answers; a mean over runs.
fn solved<'g>(group: &Group<'g>, answers: Answers) -> BTreeMap<&'g str, f64> {
    let (last, at_once) = match answers {
        Answers::First => (1, 1),
        Answers::All => (usize::MAX, samples(group)),
    };
    let by = |attempt: &Attempt| 100.0 * f64::from(attempt.solved_at.is_some_and(|at| at <= last));
    let mut runs: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    // The samples of a run follow each other.
    for repeats in group.repeats.chunks(at_once) {
        let attempts = repeats.iter().flatten().copied();
        for (task, share) in by_task(attempts, by) {
            let any = if share > 0.0 { 100.0 } else { 0.0 };
            runs.entry(task).or_default().push(any);
        }
    }
    let mean = |values: Vec<f64>| crate::metrics::mean(&values).unwrap_or_default();
    runs.into_iter().map(|(task, values)| (task, mean(values))).collect()
}

fn difference(
    one: &BTreeMap<&str, f64>,
    other: &BTreeMap<&str, f64>,
) -> Option<crate::metrics::Estimate> {
    let differences: Vec<f64> =
        one.iter().filter_map(|(task, value)| Some(value - other.get(task)?)).collect();
    mean_of(&differences)
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture;
    use super::super::super::groups::Checkpoint;
    use super::*;

    #[test]
    fn samples_count_as_solved_by_any_and_turns_by_the_last() {
        let attempt =
            |task: &str, sample, solved_at| Attempt { sample, ..fixture::attempt(task, solved_at) };
        let student = Labels { method: Some(Method::Lora), ..Labels::default() };
        let control = Labels { control: Some("samples".into()), ..student.clone() };
        let turns = vec![attempt("a", 0, Some(1)), attempt("b", 0, Some(3))];
        let mut samples = vec![
            attempt("a", 0, Some(1)),
            attempt("b", 0, None),
            attempt("a", 1, None),
            attempt("b", 1, None),
        ];
        samples.iter_mut().for_each(|attempt| attempt.turns = 1);
        let runs = [
            fixture::run(student, "benchmark", turns),
            fixture::run(control, "benchmark", samples),
        ];
        let table = fill(&RunSet::of(&runs, Checkpoint::Validation));
        let cells: Vec<_> = table
            .rows
            .iter()
            .map(|row| {
                [&row[3], &row[4], &row[5].split(' ').next().unwrap().to_string()]
                    .map(String::clone)
            })
            .collect();
        let kinds: Vec<&str> = cells.iter().map(|row| &*row[0]).collect();
        assert!(kinds[0].ends_with("turns") && kinds[1] == "2 samples", "{kinds:?}");
        assert_eq!([&cells[0][1], &cells[0][2]], ["50.0", "100.0"]);
        assert_eq!([&cells[1][1], &cells[1][2]], ["25.0", "50.0"]);
        assert!(table.rows[1][8].starts_with("-50.0"), "{:?}", table.rows[1]);
    }
}
