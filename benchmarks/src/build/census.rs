//! Which test enters which method: read from one probed run of all tests.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fixfly_runtime::{BenchmarkError, Host};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Progress, unwritable};
use crate::project::{Place, Project};
use crate::server::Server;

/// Tests that take longer are not used.
const SLOWEST: f64 = 3.0;
/// Tests kept for each method, best first.
const MOST: usize = 20;
/// Test groups a method's tests are taken from, best first.
const GROUPS: usize = 3;

/// Who enters what.
pub(crate) struct Census {
    framework: String,
    tests: Vec<Test>,
    /// By file and line of `def`.
    entered: HashMap<(String, usize), Vec<Entry>>,
    /// What runs before a group's first test.
    before: HashMap<String, BTreeSet<(String, usize)>>,
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

/// One row of what the server writes down.
#[derive(Deserialize)]
struct Row {
    event: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    seconds: f64,
    #[serde(default)]
    hits: Vec<(String, usize, u8, u8)>,
}

impl Census {
    /// The best tests of a method: called most directly, and doing least else.
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

    /// CPU seconds these tests took with the probe, about.
    pub(crate) fn seconds(&self, tests: &[String]) -> f64 {
        let wanted: BTreeSet<&String> = tests.iter().collect();
        self.tests.iter().filter(|t| wanted.contains(&t.id)).map(|t| t.seconds).sum()
    }

    /// True where the method does not run before the first test of any group
    /// that these tests belong to.
    pub(crate) fn clean(&self, place: &Place, tests: &[String]) -> bool {
        let key = (place.file.clone(), place.method.line);
        let groups: BTreeSet<String> = tests.iter().map(|test| self.group(test)).collect();
        groups.iter().all(|group| !self.before.get(group).is_some_and(|set| set.contains(&key)))
    }

    /// The group of a method's best test.
    pub(crate) fn group_of(&self, place: &Place) -> String {
        self.tests_of(place).first().map(|test| self.group(test)).unwrap_or_default()
    }

    /// The part of the suite that is set up as one.
    pub(crate) fn group(&self, test: &str) -> String {
        match self.framework.as_str() {
            "django" => test.split('.').next().unwrap_or(test).to_string(),
            "pytest" => test.split("::").next().unwrap_or(test).to_string(),
            _ => test.rsplitn(3, '.').last().unwrap_or(test).to_string(),
        }
    }

    fn add(&mut self, label: &str, answer: &Answer) {
        let passed: BTreeSet<&str> = answer
            .events
            .iter()
            .filter(|row| row.event == "passed")
            .map(|row| row.id.as_str())
            .collect();
        for row in &answer.events {
            if row.event == "before" {
                let hits = row.hits.iter().map(|hit| (hit.0.clone(), hit.1)).collect();
                self.before.insert(label.to_string(), hits);
            }
            let usable = row.event == "census" && row.seconds <= SLOWEST;
            if !usable || !passed.contains(row.id.as_str()) {
                continue;
            }
            let test = self.tests.len();
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

#[derive(Deserialize)]
struct Answer {
    events: Vec<Row>,
}

/// Takes the census, or reads what was taken before.
pub(crate) async fn take(
    project: &Arc<Project>,
    host: &Arc<dyn Host>,
    jobs: usize,
    show: &(impl Fn(Progress) + Send + Sync),
) -> Result<Census, BenchmarkError> {
    let folder = project.folder.join("build/census");
    fs::create_dir_all(&folder).map_err(|e| unwritable(&folder, &e))?;
    let labels = labels(project);
    let file = |label: &str| folder.join(format!("{}.json", label.replace('/', "_")));
    let todo: VecDeque<String> =
        labels.iter().filter(|label| !file(label).exists()).cloned().collect();
    let queue = Arc::new(Mutex::new(todo));
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let mut workers = tokio::task::JoinSet::new();
    let taken = labels.len() - queue.lock().unwrap_or_else(PoisonError::into_inner).len();
    for _ in 0..jobs {
        let (project, host, queue) = (project.clone(), host.clone(), queue.clone());
        let (folder, sender) = (folder.clone(), sender.clone());
        workers.spawn(async move { count(&project, &*host, &folder, &queue, &sender).await });
    }
    drop(sender);
    let mut done = taken;
    while let Some(last) = receiver.recv().await {
        done += 1;
        show(Progress { step: "census", done, total: labels.len(), last });
    }
    while let Some(worker) = workers.join_next().await {
        worker.map_err(|e| BenchmarkError::Broken(format!("a census worker broke: {e}")))??;
    }
    let mut census = Census {
        framework: project.framework.clone(),
        tests: Vec::new(),
        entered: HashMap::new(),
        before: HashMap::new(),
    };
    for label in &labels {
        census.add(label, &read(&file(label))?);
    }
    Ok(census)
}

fn read(path: &Path) -> Result<Answer, BenchmarkError> {
    let text = fs::read_to_string(path)
        .map_err(|e| BenchmarkError::Broken(format!("{} cannot be read: {e}", path.display())))?;
    serde_json::from_str(&text).map_err(|e| {
        let mend = "delete it and build again";
        BenchmarkError::Broken(format!("{} is not a census: {e}; {mend}", path.display()))
    })
}

/// One worker: takes labels from the queue and writes each one's census.
async fn count(
    project: &Project,
    host: &dyn Host,
    folder: &Path,
    queue: &Mutex<VecDeque<String>>,
    sender: &tokio::sync::mpsc::UnboundedSender<String>,
) -> Result<(), BenchmarkError> {
    let config = project.server(true);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    while let Some(label) = next() {
        let sandbox = host.open(project.spec()).await?;
        let server = Server { sandbox: &*sandbox, config: &config };
        let limits = json!({"wall": 1800, "cpu": 1800, "memory_mb": 3800, "processes": 200});
        let labels: &[String] = if label == ALL { &[] } else { std::slice::from_ref(&label) };
        let request = json!({"op": "census", "labels": labels, "limits": limits});
        let answer: Value = server.ask(&request, Duration::from_secs(2000)).await?;
        let path: PathBuf = folder.join(format!("{}.json", label.replace('/', "_")));
        let fresh = path.with_extension("fresh");
        fs::write(&fresh, answer.to_string()).map_err(|e| unwritable(&fresh, &e))?;
        fs::rename(&fresh, &path).map_err(|e| unwritable(&path, &e))?;
        sandbox.close().await?;
        if sender.send(label).is_err() {
            break;
        }
    }
    Ok(())
}

/// The one label of projects whose tests are counted in one go.
const ALL: &str = "all";

/// The parts a census is taken in.
fn labels(project: &Project) -> Vec<String> {
    if project.framework != "django" {
        return vec![ALL.to_string()];
    }
    let aside = ["data", "import_error_package", "test_runner_apps", "gis_tests"];
    let tests = project.folder.join("source/tests");
    let mut labels: Vec<String> = fs::read_dir(tests)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join("__init__.py").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|label| !aside.contains(&label.as_str()))
        .collect();
    labels.sort();
    labels
}
