//! What reports need from the other crates: the benchmarks' view of source text and
//! reference methods, and the rule by which a training set keeps episodes.

use std::path::Path;
use std::sync::Arc;

use fixfly_benchmarks::source;
use fixfly_datasets::{Retention, retention_of_summary};
use fixfly_report::{Reference, Retained};
use fixfly_runtime::{Benchmark, EpisodeSummary, RunRecord};

use crate::dataset::known;

/// The installed benchmarks.
pub(super) struct Benchmarks<'a> {
    /// The benchmark's folder, if it has moved since the runs.
    pub(super) folder: Option<&'a Path>,
}

impl Reference for Benchmarks<'_> {
    fn submitted(&self, code: &str, name: &str) -> Option<String> {
        Some(source::candidate(code, name).ok()?.source)
    }

    fn normal_form(&self, method: &str) -> String {
        source::normal_form(method)
    }

    fn benchmark(&self, run: &str, record: &RunRecord) -> Result<Arc<dyn Benchmark>, String> {
        known::opened(run, record, self.folder).map_err(|error| format!("{error:#}"))
    }
}

/// What a training set would keep of an episode.
pub(super) fn retained(episode: &EpisodeSummary) -> Retained {
    match retention_of_summary(episode) {
        Retention::Repaired { .. } => Retained::Repaired,
        Retention::Unsolved { .. } => Retained::Unsolved,
        Retention::AtOnce => Retained::SolvedAtOnce,
        Retention::Nothing => Retained::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_ignores_docstring_and_comments() {
        #[track_caller]
        fn check(candidate: &str, expected: bool) {
            let form = |method| Benchmarks { folder: None }.normal_form(method);
            let reference = "def f(self):\n    \"\"\"Doc.\"\"\"\n    return 1\n";
            assert_eq!(form(reference) == form(candidate), expected);
        }
        check("\ndef f(self):  \r\n    \"\"\"Doc.\"\"\"\n    return 1", true);
        check("def f(self):\n    return 1  # one", true);
        check("def f(self):\n    return  1", false);
        check("def f(", false);
    }
}
