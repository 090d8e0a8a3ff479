//! The census: which test enters which method, read from one probed run of all tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::sync::Arc;

use fixfly_runtime::{BenchmarkError, Host, Parallel};
use serde_json::json;
use tokio::task::JoinError;

use super::collect::{collect, labels};
use super::count::{Answer, Counter, file, read};
use super::fate::{self, UNSTABLE, no_pass};
use super::repeat::Unreliable;
use super::{Progress, huge, unwritable};
use crate::places::Place;
use crate::project::Project;
use crate::server::Part;

/// Slower tests are not used, in CPU seconds.
pub(super) const SLOWEST: f64 = 3.0;
/// Maximum number of tests of a method, best first.
const MOST: usize = 20;
/// Maximum number of test groups that a method's tests come from, best first.
const GROUPS: usize = 3;

/// Why methods are left out whose tests cannot be asked for by their ids.
pub(super) const UNSTEADY: &str = "the ids of its tests change from run to run";
/// Why methods are left out all of whose tests are unreliable.
pub(super) const UNRELIABLE: &str = "its tests are flaky, or depend on their order or the clock";

/// Which tests enter which methods.
#[derive(Default)]
pub(crate) struct Census {
    tests: Vec<Test>,
    /// The part of the suite with which each test was counted.
    groups: HashMap<String, String>,
    /// The file of each part.
    files: HashMap<String, String>,
    /// The tests that enter each method, by its file and line of `def`.
    entered: HashMap<(String, usize), Vec<Entry>>,
    /// The methods that run before a group's first test.
    before: HashMap<String, BTreeSet<(String, usize)>>,
    /// The methods that tests enter whose ids are not the same in each run.
    unsteady: BTreeSet<(String, usize)>,
    /// The methods that tests enter which are left out because they are unreliable.
    without_reliable: BTreeSet<(String, usize)>,
    /// The tests that are left out, by id.
    left_out: BTreeMap<String, Unreliable>,
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

    /// The files of all tests that enter a method.
    pub(crate) fn test_files(&self, place: &Place) -> BTreeSet<&str> {
        let key = (place.file.clone(), place.method.line);
        let entries = self.entered.get(&key).into_iter().flatten();
        let groups = entries.filter_map(|entry| self.groups.get(&self.tests[entry.test].id));
        groups.filter_map(|group| self.files.get(group)).map(String::as_str).collect()
    }

    /// Why a method has no tests, if it has none.
    pub(crate) fn why_untested(&self, place: &Place) -> Option<&'static str> {
        let key = (place.file.clone(), place.method.line);
        match self.tests_of(place).is_empty() {
            false => None,
            true if self.unsteady.contains(&key) => Some(UNSTEADY),
            true if self.without_reliable.contains(&key) => Some(UNRELIABLE),
            true => Some("no passing test enters it"),
        }
    }

    /// The tests that are left out, by id.
    pub(crate) fn left_out(&self) -> &BTreeMap<String, Unreliable> {
        &self.left_out
    }

    /// Adds what was counted of a part. Tests that are not `collected` have other ids in
    /// each run, so nothing can ask for them again; an empty list knows of none.
    fn add(&mut self, label: &str, collected: &[String], answer: &Answer) {
        let collected: BTreeSet<&str> = collected.iter().map(String::as_str).collect();
        let passed = answer.passed();
        let unreliable = answer.unreliable.iter().flatten().map(|test| (test.id.as_str(), test));
        let unreliable: BTreeMap<&str, &Unreliable> = unreliable.collect();
        self.left_out.extend(fate::of(&answer.events).map(|test| (test.id.clone(), test)));
        for row in &answer.events {
            let hits = || row.hits.iter().map(|hit| (hit.0.clone(), hit.1));
            if row.event == "before" {
                self.before.entry(label.to_string()).or_default().extend(hits());
            }
            if row.event != "census" || !passed.contains(row.id.as_str()) {
                continue;
            }
            if row.seconds > SLOWEST {
                let evidence = format!("{} CPU seconds", row.seconds);
                self.leave_out(Unreliable::new(&row.id, "takes more than 3 s of CPU", evidence));
                continue;
            }
            if !collected.is_empty() && !collected.contains(row.id.as_str()) {
                self.unsteady.extend(hits());
                self.leave_out(Unreliable::new(
                    &row.id,
                    UNSTABLE,
                    "the project's tests have no such id",
                ));
                continue;
            }
            if let Some(test) = unreliable.get(row.id.as_str()) {
                self.without_reliable.extend(hits());
                self.leave_out((*test).clone());
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

    fn leave_out(&mut self, test: Unreliable) {
        self.left_out.insert(test.id.clone(), test);
    }
}

/// Takes the census, or reads an earlier one.
pub(crate) async fn take(
    project: &Arc<Project>,
    host: &Arc<dyn Host>,
    jobs: usize,
    all: bool,
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
    huge::check(project, &parts, all)?;
    let own: BTreeSet<&str> = parts.values().map(|part| part.file.as_str()).collect();
    let files: Vec<&str> = project.files().filter(|file| !own.contains(file)).collect();
    let counter = Arc::new(Counter {
        project: project.clone(),
        host: host.clone(),
        files: json!(files),
        folder,
    });
    let is_left = |(label, _): &(&String, &Part)| !counter.is_done(label);
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
        census.files.insert(label.clone(), part.file.clone());
        census.add(label, &part.tests, &answer);
        answers.push(answer);
    }
    if census.tests.is_empty() {
        return Err(BenchmarkError::Broken(no_pass(project, &answers)));
    }
    Ok(census)
}
