//! Names of runs without the folders of the machine that recorded them.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use crate::row::Row;
use crate::summary::Summary;

/// The published name of each run that was named by an absolute path, or by one through `..`:
/// what is left without the folders that these runs share.
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    pub(super) fn of<'a>(runs: impl Iterator<Item = &'a str>) -> Self {
        let private: Vec<(&str, Vec<&str>)> =
            runs.filter(|run| is_private(run)).map(|run| (run, folders(run))).collect();
        let same = |at: usize| private.windows(2).all(|pair| pair[0].1[at] == pair[1].1[at]);
        let shallowest = private.iter().map(|(_, parts)| parts.len().saturating_sub(1)).min();
        let shared = (0..shallowest.unwrap_or(0)).take_while(|at| same(*at)).count();
        let short = |parts: &[&str]| parts[shared.min(parts.len())..].join("/");
        Names(private.iter().map(|(run, parts)| ((*run).to_string(), short(parts))).collect())
    }

    /// The summary with these names.
    pub(super) fn summary(&self, summary: &Summary) -> Summary {
        let mut summary = summary.clone();
        for source in &mut summary.sources {
            self.rename(&mut source.run);
        }
        summary
    }

    /// The row with these names.
    pub(super) fn row(&self, mut row: Row) -> Row {
        self.rename(&mut row.origin.run);
        row
    }

    fn rename(&self, run: &mut String) {
        if let Some(name) = self.0.get(run) {
            run.clone_from(name);
        }
    }
}

fn is_private(run: &str) -> bool {
    let path = Path::new(run);
    path.is_absolute() || path.components().any(|part| part == Component::ParentDir)
}

fn folders(run: &str) -> Vec<&str> {
    let parts = Path::new(run).components().filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_names_have_no_folder_of_the_machine() {
        #[track_caller]
        fn check(runs: &[&str], expected: &[&str]) {
            let names = Names::of(runs.iter().copied());
            let mut found: Vec<String> = runs.iter().map(ToString::to_string).collect();
            found.iter_mut().for_each(|run| names.rename(run));
            assert_eq!(found, expected);
        }
        check(&[], &[]);
        check(&["runs/a", "b"], &["runs/a", "b"]);
        check(&["/home/ada/secret/runs/a"], &["a"]);
        check(&["/home/ada/runs/a", "/home/ada/runs/b", "c"], &["a", "b", "c"]);
        check(&["/home/ada/x/a", "/home/ada/y/a/"], &["x/a", "y/a"]);
        check(&["../../old/runs/a", "/srv/runs/a"], &["old/runs/a", "srv/runs/a"]);
        check(&["/a", "/a/b"], &["a", "a/b"]);
        check(&["/"], &[""]);
    }
}
