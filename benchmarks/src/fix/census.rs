//! Which tests enter which functions, as the test server records it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fixfly_runtime::{BenchmarkError, Sandbox, TestResult};
use serde::Deserialize;
use serde_json::json;

use crate::server::{Config, Server};

/// Which tests enter which functions of the project.
#[derive(Debug, Default)]
pub(super) struct Census {
    passed: BTreeSet<String>,
    /// For each file and line of `def`, the tests, and how many frames are between.
    tests: BTreeMap<(String, usize), BTreeMap<String, u8>>,
}

/// How often a function is entered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entered {
    pub(super) failed: usize,
    pub(super) passed: usize,
    /// The fewest frames between it and a failing test.
    pub(super) distance: u8,
}

/// The server's answer for one run with the probe.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    events: Vec<Row>,
    outcome: String,
}

#[derive(Debug, Deserialize)]
struct Row {
    event: String,
    #[serde(default)]
    id: String,
    /// File, line, whether a test calls it itself, and the frames between.
    #[serde(default)]
    hits: Vec<(String, usize, u8, u8)>,
}

/// Runs these tests with the probe, in one process, for at most `wall` seconds.
pub(super) async fn take(
    config: &Config,
    tests: &[String],
    files: &[&str],
    wall: u64,
    sandbox: &dyn Sandbox,
) -> Result<Answer, BenchmarkError> {
    let limits = json!({ "wall": wall, "cpu": wall, "memory_mb": 3072, "processes": 256 });
    let request = json!({ "op": "census", "tests": tests, "files": files, "limits": limits });
    let config = Config { probe: true, ..config.clone() };
    let server = Server { sandbox, config: &config };
    server.ask(&request, Duration::from_secs(wall + 180)).await
}

impl Census {
    /// Adds a run. Returns whether all of its tests ran.
    pub(super) fn add(&mut self, answer: Answer) -> bool {
        for Row { event, id, hits } in answer.events {
            match event.as_str() {
                "passed" => {
                    self.passed.insert(id);
                }
                "census" => {
                    for (file, line, _, distance) in hits {
                        let tests = self.tests.entry((file, line)).or_default();
                        tests.insert(id.clone(), distance);
                    }
                }
                _ => {}
            }
        }
        answer.outcome == "done"
    }

    /// How often the function at this line of `def` is entered.
    pub(super) fn entered(&self, file: &str, line: usize, failing: &[TestResult]) -> Entered {
        let mut entered = Entered { failed: 0, passed: 0, distance: u8::MAX };
        for (test, distance) in self.tests.get(&(file.to_string(), line)).into_iter().flatten() {
            if failing.iter().any(|result| result.id == *test) {
                entered.failed += 1;
                entered.distance = entered.distance.min(*distance);
            } else if self.passed.contains(test) {
                entered.passed += 1;
            }
        }
        entered
    }

    /// The tests that passed and enter the function at this line of `def`.
    pub(super) fn passing(&self, file: &str, line: usize) -> impl Iterator<Item = &String> {
        let tests = self.tests.get(&(file.to_string(), line)).into_iter().flatten();
        tests.map(|(test, _)| test).filter(move |test| self.passed.contains(*test))
    }
}
