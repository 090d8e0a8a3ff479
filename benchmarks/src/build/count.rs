//! Counts the parts of a suite: runs their tests with a probe, and again without one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{BenchmarkError, Host, Sandbox, write_whole};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::census::SLOWEST;
use super::repeat::{Batch, BatchResult, Runs, Unreliable, unreliable};
use super::unwritable;
use crate::project::Project;
use crate::server::{Part, Server};

/// A test that takes longer in wall-clock seconds waits for something that does not come.
/// Tests that can be used take at most three seconds of CPU.
const WAITS: u64 = 30;

/// One row of the server's output.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) event: String,
    #[serde(default)]
    pub(super) id: String,
    #[serde(default)]
    pub(super) seconds: f64,
    #[serde(default)]
    pub(super) hits: Vec<(String, usize, u8, u8)>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) failure: Value,
}

/// The server's answer for one run with the probe.
#[derive(Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) events: Vec<Row>,
    outcome: String,
    /// The tests that are unreliable; `None` if they were not run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unreliable: Option<Vec<Unreliable>>,
}

impl Answer {
    /// The ids of the tests that passed.
    pub(super) fn passed(&self) -> BTreeSet<&str> {
        let rows = self.events.iter().filter(|row| row.event == "passed");
        rows.map(|row| row.id.as_str()).collect()
    }

    /// The tests that passed and are fast enough, with their CPU seconds.
    fn usable(&self, collected: &[String]) -> Vec<(String, f64)> {
        let passed = self.passed();
        let collected: BTreeSet<&str> = collected.iter().map(String::as_str).collect();
        let is_usable = |row: &&Row| {
            let id = row.id.as_str();
            let fast = row.event == "census" && row.seconds <= SLOWEST;
            fast && passed.contains(id) && collected.contains(id)
        };
        self.events.iter().filter(is_usable).map(|row| (row.id.clone(), row.seconds)).collect()
    }
}

/// Where the census of a part is kept.
pub(super) fn file(folder: &Path, label: &str) -> PathBuf {
    folder.join(format!("{}.json", label.replace('/', "_")))
}

/// Reads the census of a part.
pub(super) fn read(path: &Path) -> Result<Answer, BenchmarkError> {
    let text = fs::read_to_string(path)
        .map_err(|e| BenchmarkError::Broken(format!("{} cannot be read: {e}", path.display())))?;
    serde_json::from_str(&text).map_err(|e| {
        let remedy = "delete it and build again";
        BenchmarkError::Broken(format!("{} is not a census: {e}; {remedy}", path.display()))
    })
}

/// The state that all counts share.
pub(super) struct Counter {
    pub(super) project: Arc<Project>,
    pub(super) host: Arc<dyn Host>,
    /// The files to take methods from; the project's other files only serve its tests.
    pub(super) files: Value,
    pub(super) folder: PathBuf,
}

impl Counter {
    /// Whether an earlier build counted the part.
    pub(super) fn is_done(&self, label: &str) -> bool {
        let path = file(&self.folder, label);
        match self.project.drops_unreliable_tests() {
            true => read(&path).is_ok_and(|answer| answer.unreliable.is_some()),
            false => path.exists(),
        }
    }

    /// Writes the census of one part and returns its label.
    pub(super) async fn keep(
        self: Arc<Self>,
        label: String,
        part: Part,
    ) -> Result<String, BenchmarkError> {
        let path = file(&self.folder, &label);
        let sandbox = self.host.open(self.project.spec()).await?;
        let room = Room { counter: &self, sandbox: &*sandbox };
        let mut answer = room.count(&label, &part.tests).await?;
        if self.project.drops_unreliable_tests() {
            answer.unreliable = Some(unreliable(&room, &answer.usable(&part.tests)).await?);
        }
        write_whole(&path, json!(answer).to_string()).map_err(|e| unwritable(&path, &e))?;
        sandbox.close().await?;
        Ok(label)
    }
}

/// One sandbox that parts are counted in.
struct Room<'a> {
    counter: &'a Counter,
    sandbox: &'a dyn Sandbox,
}

impl Room<'_> {
    async fn count(&self, label: &str, tests: &[String]) -> Result<Answer, BenchmarkError> {
        let mut all = Answer { events: Vec::new(), outcome: "done".to_string(), unreliable: None };
        let mut left = Left { label, tests, begun: BTreeSet::new() };
        loop {
            let (mut request, seconds) = left.request();
            request["op"] = json!("census");
            request["files"] = self.counter.files.clone();
            if !tests.is_empty() {
                request["limits"] = json!({"test_wall": WAITS});
            }
            // A busy machine must not cost tests: the wall limit is only for tests that hang.
            let answer: Answer = self.ask(request, 4 * seconds, seconds).await?;
            let over = left.over_after(&answer);
            all.events.extend(answer.events);
            if over {
                return Ok(all);
            }
        }
    }

    /// Sends a request, with its limits in wall-clock and CPU seconds.
    async fn ask<T: DeserializeOwned>(
        &self,
        mut request: Value,
        wall: u64,
        cpu: u64,
    ) -> Result<T, BenchmarkError> {
        let config = self.counter.project.server(true);
        let server = Server { sandbox: self.sandbox, config: &config };
        for (name, limit) in [("wall", wall), ("cpu", cpu), ("memory_mb", 3800), ("processes", 200)]
        {
            request["limits"][name] = json!(limit);
        }
        server.ask(&request, Duration::from_secs(wall + 200)).await
    }
}

#[async_trait]
impl Runs for Room<'_> {
    async fn run(
        &self,
        batches: &[Batch],
        clock: Option<u64>,
    ) -> Result<Vec<Option<BatchResult>>, BenchmarkError> {
        let longest = batches.iter().map(|batch| batch.wall).max().unwrap_or_default();
        // Each batch has a limit of its own; that for all is for a process that hangs.
        let wall = 120 + 2 * longest + 5 * batches.len() as u64;
        let request = json!({"op": "repeat", "batches": batches, "clock": clock});
        let answer: Repeated = self.ask(request, wall, 60 + 4 * longest).await?;
        Ok(answer.batches)
    }
}

/// The server's answer for repeated tests.
#[derive(Deserialize)]
struct Repeated {
    batches: Vec<Option<BatchResult>>,
}

/// What is left to count of a part: the named tests, or all that its label finds. If one
/// crashes the process or takes too long, the tests after it are counted in another
/// process.
struct Left<'a> {
    label: &'a str,
    tests: &'a [String],
    begun: BTreeSet<String>,
}

impl Left<'_> {
    /// The request, and its limit in CPU seconds.
    fn request(&self) -> (Value, u64) {
        let left = self.tests.iter().filter(|test| !self.begun.contains(*test));
        match self.tests.is_empty() {
            true => (json!({"labels": [self.label], "skip": self.begun}), 1800),
            false => (json!({"tests": left.collect::<Vec<_>>()}), 240),
        }
    }

    fn over_after(&mut self, answer: &Answer) -> bool {
        let before = self.begun.len();
        // Ids that are new in each run are no progress.
        let known = |id: &&String| match self.tests.is_empty() {
            true => !id.is_empty(),
            false => self.tests.contains(id),
        };
        let named = answer.events.iter().map(|row| &row.id).filter(known);
        self.begun.extend(named.cloned());
        let all_begun = || self.tests.iter().all(|test| self.begun.contains(test));
        answer.outcome == "done"
            || self.begun.len() == before
            || (!self.tests.is_empty() && all_begun())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each answer, its outcome and the tests it started; then the requests expected
    /// meanwhile.
    #[track_caller]
    fn check(tests: &[&str], answers: &[(&str, &[&str])], expected: &[Value]) {
        let tests: Vec<String> = tests.iter().map(ToString::to_string).collect();
        let mut left = Left { label: "queries", tests: &tests, begun: BTreeSet::new() };
        let mut asked = Vec::new();
        for (at, (outcome, begun)) in answers.iter().enumerate() {
            asked.push(left.request().0);
            let rows = begun.iter().map(|id| json!({"event": "started", "id": id}));
            let events: Vec<Value> = rows.chain([json!({"event": "before"})]).collect();
            let answer = json!({"outcome": outcome, "events": events});
            let over = left.over_after(&serde_json::from_value(answer).unwrap());
            assert_eq!(over, at + 1 == answers.len(), "after {outcome}");
        }
        assert_eq!(asked, expected);
    }

    #[test]
    fn a_test_that_ends_the_process_costs_none_of_those_after_it() {
        check(&[], &[("done", &["a", "b"])], &[json!({"labels": ["queries"], "skip": []})]);
        check(
            &[],
            &[("timed_out", &["a", "b"]), ("done", &["c"])],
            &[
                json!({"labels": ["queries"], "skip": []}),
                json!({"labels": ["queries"], "skip": ["a", "b"]}),
            ],
        );
        check(&[], &[("crashed", &[])], &[json!({"labels": ["queries"], "skip": []})]);
        check(
            &["a", "b"],
            &[("crashed", &["a", "b[0x1]"]), ("crashed", &["b[0x2]"])],
            &[json!({"tests": ["a", "b"]}), json!({"tests": ["b"]})],
        );
        check(
            &["a", "b", "c"],
            &[("crashed", &["a"]), ("crashed", &["b"]), ("exited", &["c"])],
            &[
                json!({"tests": ["a", "b", "c"]}),
                json!({"tests": ["b", "c"]}),
                json!({"tests": ["c"]}),
            ],
        );
    }
}
