//! The thesis' tables and what its figures show, one a file, of any set of runs.

mod alignment;
mod baselines;
mod checkpoints;
mod code;
mod costs;
mod datasets;
mod errors;
mod families;
mod issues;
mod lengths;
mod reasoning;
mod repeats;

pub(crate) use errors::counted as counted_errors;
pub(crate) use issues::BENCHMARK as ISSUES;
pub(crate) use lengths::words_by_task;

use super::groups::{Group, Set};
use super::sheets::Table;

/// A table: what it is called, and how it is made.
pub(crate) struct Entry {
    /// As on the command line: `5.1`, `costs`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What runs it takes to have a row.
    pub(crate) needs: &'static str,
    pub(super) fill: fn(&Set<'_>) -> Filled,
}

/// What a table holds, before it has a title.
#[derive(Default)]
pub(super) struct Filled {
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    /// What has to be known to read it.
    pub(super) notes: Vec<String>,
}

/// Every table, in the thesis' order.
pub(crate) const ALL: &[Entry] = &[
    baselines::ENTRY,
    datasets::ENTRY,
    reasoning::ENTRY,
    alignment::ENTRY,
    code::ENTRY,
    lengths::ENTRY,
    families::ENTRY,
    issues::ENTRY,
    checkpoints::ENTRY,
    repeats::ENTRY,
    errors::ENTRY,
    costs::ENTRY,
];

impl Entry {
    /// Whether it is one of the thesis' own tables.
    pub(crate) fn is_numbered(&self) -> bool {
        self.name.starts_with(|letter: char| letter.is_ascii_digit())
    }

    pub(crate) fn sheet(&self, set: &Set<'_>) -> Table {
        let Filled { header, rows, mut notes } = (self.fill)(set);
        if rows.is_empty() {
            notes = vec![format!("Nothing to show: it needs {}.", self.needs)];
        }
        let title = match self.is_numbered() {
            true => format!("Table {}, {}", self.name, self.title),
            false => self.title.to_string(),
        };
        Table { title, header, rows, notes }
    }
}

fn header(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| (*column).to_string()).collect()
}

/// Groups on benchmarks of methods, each training's chosen checkpoint.
fn methods<'s, 'm>(set: &'s Set<'m>) -> Vec<&'s Group<'m>> {
    set.chosen().into_iter().filter(|group| group.benchmark != ISSUES).collect()
}

/// Tasks and episodes, so that every row has its denominator.
fn of(group: &Group<'_>) -> String {
    group.rate(None).map_or(String::new(), |rate| match rate.tasks == rate.episodes {
        true => format!("{} tasks", rate.tasks),
        false => format!("{} tasks, {} episodes", rate.tasks, rate.episodes),
    })
}

const INTERVALS: &str = "In brackets: 95 % intervals, Wilson's for one run, bootstrap over tasks for \
                         repeats and differences; σ is over repeats.";

#[cfg(test)]
mod tests;
