//! The census: which test enters which method, read from one probed run of all tests.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fixfly_runtime::{BenchmarkError, Host, Parallel, write_whole};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinError;

use super::collect::{Part, collect, labels};
use super::{Progress, unwritable};
use crate::project::{Place, Project};
use crate::server::Server;

/// Slower tests are not used, in CPU seconds.
const SLOWEST: f64 = 3.0;
/// Maximum number of tests of a method, best first.
const MOST: usize = 20;
/// Maximum number of test groups that a method's tests come from, best first.
const GROUPS: usize = 3;

/// Why methods are left out whose tests cannot be asked for by their ids.
pub(super) const UNSTEADY: &str = "the ids of its tests change from run to run";

/// Which tests enter which methods.
#[derive(Default)]
pub(crate) struct Census {
    tests: Vec<Test>,
    /// The part of the suite with which each test was counted.
    groups: HashMap<String, String>,
    /// The tests that enter each method, by its file and line of `def`.
    entered: HashMap<(String, usize), Vec<Entry>>,
    /// The methods that run before a group's first test.
    before: HashMap<String, BTreeSet<(String, usize)>>,
    /// The methods that tests enter whose ids are not the same in each run.
    unsteady: BTreeSet<(String, usize)>,
}

struct Test {
    id: String,
    seconds: f64,
    breadth: usize,
}

struct Entry {
    test: usize,
    direct: bool,
    distance: u8,
}

/// One row of the server's output.
#[derive(Serialize, Deserialize)]
struct Row {
    event: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    seconds: f64,
    #[serde(default)]
    hits: Vec<(String, usize, u8, u8)>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    failure: Value,
}

/// The server's answer for one run with the probe.
#[derive(Serialize, Deserialize)]
struct Answer {
    events: Vec<Row>,
    outcome: String,
}

impl Census {
    /// The best tests of a method: those that call it most directly and do the least else.
    pub(crate) fn tests_of(&self, place: &Place) -> Vec<String> {
        let key = (place.file.clone(), place.method.line);
        let mut entries: Vec<&Entry> = self.entered.get(&key).into_iter().flatten().collect();
        entries.sort_by_key(|entry| {
            let test = &self.tests[entry.test];
            (!entry.direct, entry.distance, test.breadth, &test.id)
        });
        let mut groups = BTreeSet::new();
        let near = entries.into_iter().map(|entry| &self.tests[entry.test].id).filter(|id| {
            let group = self.group(id);
            groups.contains(&group) || (groups.len() < GROUPS && groups.insert(group))
        });
        near.take(MOST).cloned().collect()
    }

    /// Approximate CPU seconds of these tests, with the probe.
    pub(crate) fn seconds(&self, tests: &[String]) -> f64 {
        let wanted: BTreeSet<&String> = tests.iter().collect();
        self.tests.iter().filter(|t| wanted.contains(&t.id)).map(|t| t.seconds).sum()
    }

    /// Whether the method does not run before the first test of any of these tests' groups.
    pub(crate) fn clean(&self, place: &Place, tests: &[String]) -> bool {
        let key = (place.file.clone(), place.method.line);
        let groups: BTreeSet<String> = tests.iter().map(|test| self.group(test)).collect();
        groups.iter().all(|group| !self.before.get(group).is_some_and(|set| set.contains(&key)))
    }

    /// The group of a method's best test.
    pub(crate) fn group_of(&self, place: &Place) -> String {
        self.tests_of(place).first().map(|test| self.group(test)).unwrap_or_default()
    }

    /// The group of a test: the part of the suite that is set up together.
    pub(crate) fn group(&self, test: &str) -> String {
        self.groups.get(test).cloned().unwrap_or_default()
    }

    /// Why a method has no tests, if it has none.
    pub(crate) fn why_untested(&self, place: &Place) -> Option<&'static str> {
        let key = (place.file.clone(), place.method.line);
        match (self.tests_of(place).is_empty(), self.unsteady.contains(&key)) {
            (false, _) => None,
            (true, true) => Some(UNSTEADY),
            (true, false) => Some("no passing test enters it"),
        }
    }

    /// Adds what was counted of a part. Tests that are not `collected` have other ids in
    /// each run, so nothing can ask for them again; an empty list knows of none.
    fn add(&mut self, label: &str, collected: &[String], answer: &Answer) {
        let collected: BTreeSet<&str> = collected.iter().map(String::as_str).collect();
        let passed: BTreeSet<&str> = answer
            .events
            .iter()
            .filter(|row| row.event == "passed")
            .map(|row| row.id.as_str())
            .collect();
        for row in &answer.events {
            if row.event == "before" {
                let hits = row.hits.iter().map(|hit| (hit.0.clone(), hit.1));
                self.before.entry(label.to_string()).or_default().extend(hits);
            }
            let usable = row.event == "census" && row.seconds <= SLOWEST;
            if !usable || !passed.contains(row.id.as_str()) {
                continue;
            }
            if !collected.is_empty() && !collected.contains(row.id.as_str()) {
                let hits = row.hits.iter().map(|hit| (hit.0.clone(), hit.1));
                self.unsteady.extend(hits);
                continue;
            }
            let test = self.tests.len();
            self.groups.insert(row.id.clone(), label.to_string());
            self.tests.push(Test {
                id: row.id.clone(),
                seconds: row.seconds,
                breadth: row.hits.len(),
            });
            for (file, line, direct, distance) in &row.hits {
                let entry = Entry { test, direct: *direct == 1, distance: *distance };
                self.entered.entry((file.clone(), *line)).or_default().push(entry);
            }
        }
    }
}

/// Takes the census, or reads an earlier one.
pub(crate) async fn take(
    project: &Arc<Project>,
    host: &Arc<dyn Host>,
    jobs: usize,
    show: &(impl Fn(Progress) + Send + Sync),
) -> Result<Census, BenchmarkError> {
    let folder = match project.framework.as_str() {
        "django" => project.folder.join("build/census"),
        other => project.folder.join("build/census").join(other),
    };
    fs::create_dir_all(&folder).map_err(|e| unwritable(&folder, &e))?;
    let parts = match project.framework.as_str() {
        "django" => labels(project),
        _ => collect(project, &**host, &folder).await?,
    };
    let own: BTreeSet<&str> = parts.values().map(|part| part.file.as_str()).collect();
    let files: Vec<&str> = project.files().filter(|file| !own.contains(file)).collect();
    let counter = Arc::new(Counter {
        project: project.clone(),
        host: host.clone(),
        files: json!(files),
        folder,
    });
    let is_left = |(label, _): &(&String, &Part)| !file(&counter.folder, label).exists();
    let left: Vec<_> = parts.iter().filter(is_left).collect();
    let mut done = parts.len() - left.len();
    let left = left.into_iter();
    let counts = left.map(|(label, part)| counter.clone().keep(label.clone(), part.clone()));
    let mut counts = Parallel::new(jobs, counts);
    let mut failed = None;
    while let Some(counted) = counts.next().await {
        let broke =
            |e: JoinError| Err(BenchmarkError::Broken(format!("a census worker broke: {e}")));
        match counted.unwrap_or_else(broke) {
            Ok(last) => {
                done += 1;
                show(Progress { step: "census", done, total: parts.len(), last });
            }
            // What runs still ends: its results are kept.
            Err(error) => {
                counts.stop();
                failed.get_or_insert(error);
            }
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let mut census = Census::default();
    let mut answers = Vec::new();
    for (label, part) in &parts {
        let answer = read(&file(&counter.folder, label))?;
        census.add(label, &part.tests, &answer);
        answers.push(answer);
    }
    if census.tests.is_empty() {
        return Err(BenchmarkError::Broken(no_pass(&answers)));
    }
    Ok(census)
}

fn file(folder: &Path, label: &str) -> PathBuf {
    folder.join(format!("{}.json", label.replace('/', "_")))
}

/// An error if no test passes: why there is nothing to build on.
fn no_pass(answers: &[Answer]) -> String {
    let rows = || answers.iter().flat_map(|answer| &answer.events);
    let count = rows().filter(|row| row.event == "census").count();
    let first = rows().find_map(|row| row.failure.get("traceback")?.as_str());
    let why = first.and_then(|text| text.trim_end().lines().last()).unwrap_or("no reason given");
    format!("none of the project's {count} tests passes on its unchanged source; the first: {why}")
}

fn read(path: &Path) -> Result<Answer, BenchmarkError> {
    let text = fs::read_to_string(path)
        .map_err(|e| BenchmarkError::Broken(format!("{} cannot be read: {e}", path.display())))?;
    serde_json::from_str(&text).map_err(|e| {
        let remedy = "delete it and build again";
        BenchmarkError::Broken(format!("{} is not a census: {e}; {remedy}", path.display()))
    })
}

/// The state that all counts share.
struct Counter {
    project: Arc<Project>,
    host: Arc<dyn Host>,
    /// The files to take methods from; the project's other files only serve its tests.
    files: Value,
    folder: PathBuf,
}

impl Counter {
    /// Writes the census of one part and returns its label.
    async fn keep(self: Arc<Self>, label: String, part: Part) -> Result<String, BenchmarkError> {
        let answer = self.count(&label, &part.tests).await?;
        let path = file(&self.folder, &label);
        write_whole(&path, json!(answer).to_string()).map_err(|e| unwritable(&path, &e))?;
        Ok(label)
    }

    async fn count(&self, label: &str, tests: &[String]) -> Result<Answer, BenchmarkError> {
        let mut all = Answer { events: Vec::new(), outcome: "done".to_string() };
        let mut left = Left { label, tests, begun: BTreeSet::new() };
        loop {
            let (request, seconds) = left.request();
            let answer = self.ask(request, seconds).await?;
            let over = left.over_after(&answer);
            all.events.extend(answer.events);
            if over {
                return Ok(all);
            }
        }
    }

    async fn ask(&self, mut request: Value, seconds: u64) -> Result<Answer, BenchmarkError> {
        let sandbox = self.host.open(self.project.spec()).await?;
        let config = self.project.server(true);
        let server = Server { sandbox: &*sandbox, config: &config };
        request["op"] = json!("census");
        request["files"] = self.files.clone();
        // A busy machine must not cost tests: the wall limit is only for tests that hang.
        let wall = 4 * seconds;
        request["limits"] =
            json!({"wall": wall, "cpu": seconds, "memory_mb": 3800, "processes": 200});
        let answer = server.ask(&request, Duration::from_secs(wall + 200)).await?;
        sandbox.close().await?;
        Ok(answer)
    }
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
