//! The tables of the paper, and the values of its figures, for any set of runs.
//! One file per table.

mod base_models;
mod checkpoints;
mod code_scores;
mod costs;
mod datasets;
mod errors;
mod families;
mod issues;
mod lengths;
mod reasoning;
mod repeats;
mod similarity;
mod students;

pub(crate) use errors::counted as counted_errors;
pub(crate) use issues::BENCHMARK as ISSUES;
pub(crate) use lengths::words_by_task;

use super::groups::{Group, RunSet};
use super::run_tables::Table;

/// The definition of a table.
pub(crate) struct Entry {
    /// Value of `--table`: `base-models`, `costs`.
    pub(crate) name: &'static str,
    /// The number in the paper, which `--table` accepts, too: `5.1`.
    pub(crate) number: Option<&'static str>,
    pub(crate) title: &'static str,
    /// The runs that the table requires: `runs of ...`.
    pub(crate) needs: &'static str,
    pub(super) fill: fn(&RunSet<'_>) -> Filled,
}

/// A table without its title.
#[derive(Default)]
pub(super) struct Filled {
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    /// Printed below the table.
    pub(super) notes: Vec<String>,
}

/// All tables, in the order of the paper.
pub(crate) const ALL: &[Entry] = &[
    base_models::ENTRY,
    datasets::ENTRY,
    reasoning::ENTRY,
    similarity::ENTRY,
    code_scores::ENTRY,
    lengths::ENTRY,
    families::ENTRY,
    issues::ENTRY,
    checkpoints::ENTRY,
    students::ENTRY,
    repeats::ENTRY,
    errors::ENTRY,
    costs::ENTRY,
];

impl Entry {
    /// The title, followed by the number in the paper.
    pub(crate) fn full_title(&self) -> String {
        match self.number {
            Some(number) => format!("{} (paper: table {number})", self.title),
            None => self.title.to_string(),
        }
    }

    pub(crate) fn table(&self, set: &RunSet<'_>) -> Table {
        let Filled { header, rows, mut notes } = (self.fill)(set);
        if rows.is_empty() {
            notes = vec![format!("This table is empty. It requires {}.", self.needs)];
        }
        Table { title: self.full_title(), header, rows, notes }
    }
}

fn header(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| (*column).to_string()).collect()
}

/// Chosen groups on method benchmarks.
fn methods<'s, 'm>(set: &'s RunSet<'m>) -> Vec<&'s Group<'m>> {
    set.chosen().into_iter().filter(|group| group.benchmark != ISSUES).collect()
}

/// The denominator of a row: tasks, and episodes where they differ.
fn sample_size(group: &Group<'_>) -> String {
    group.rate(None).map_or(String::new(), |rate| match rate.tasks == rate.episodes {
        true => format!("{} tasks", rate.tasks),
        false => format!("{} tasks, {} episodes", rate.tasks, rate.episodes),
    })
}

const INTERVALS: &str = "Parentheses: 95 % intervals (Wilson for one run, bootstrap over tasks for \
                         repeats and differences). σ: standard deviation over repeats.";

#[cfg(test)]
mod tests;
