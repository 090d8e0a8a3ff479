//! The real Django, for the tests that need it.
// Each test file uses some of it.
#![allow(dead_code, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use fixfly_benchmarks::{Header, Item, Manifest, Methods, Project, RunPath, Tests, django, source};
use fixfly_runtime::{
    Answer, Benchmark, DescribedBy, Evaluator, Observation, Sandbox, Split, Task, Verdict, sha256,
};
use tempfile::TempDir;

/// The benchmark directory that `fixfly bench build django` made.
pub(crate) struct Django {
    pub(crate) folder: PathBuf,
}

impl Django {
    /// None, with a message, if these tests are not enabled.
    pub(crate) fn here() -> Option<Django> {
        if std::env::var_os("FIXFLY_TEST_DJANGO").is_none() {
            eprintln!("skipped: FIXFLY_TEST_DJANGO is not set; ./check sets it");
            return None;
        }
        let folder = django::folder();
        let remedy = "run `fixfly bench build django` first";
        assert!(folder.join("venv.ready").exists(), "{}: {remedy}", folder.display());
        Some(Django { folder })
    }

    pub(crate) fn text(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join("source").join(file)).unwrap()
    }

    /// A method of Django and the tests that decide on it.
    #[track_caller]
    pub(crate) fn item(&self, id: &str, path: RunPath, tests: &[&str]) -> Item {
        let (file, qualname) = id.split_once("::").unwrap();
        let text = self.text(file);
        let methods = source::methods(&text).unwrap();
        let method = methods.iter().find(|method| method.qualname == qualname).expect(id);
        Item {
            id: id.to_string(),
            split: Split::Benchmark,
            spans: vec![[method.span.start, method.span.end]],
            hash: sha256(&text[method.span.clone()])[..16].to_string(),
            path,
            tests: tests.iter().collect(),
            wider: Tests::default(),
            seconds: 1.0,
            described_by: DescribedBy::Nothing,
            lines: method.body_lines,
            mutants: [1, 1],
            copies: Vec::new(),
        }
    }

    pub(crate) fn methods(&self, items: Vec<Item>) -> Methods {
        let project = Project::open(&self.folder, "django").unwrap();
        Methods::new("django", project, manifest(items))
    }

    /// A benchmark directory with these items and the fetched Django.
    pub(crate) fn benchmark(&self, items: Vec<Item>) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["source", "venv", "venv.ready", "preload.json"] {
            symlink(self.folder.join(name), folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("manifest.jsonl"), manifest(items).text()).unwrap();
        folder
    }
}

fn manifest(items: Vec<Item>) -> Manifest {
    let header = Header {
        schema: 1,
        benchmark: "django".to_string(),
        source: django::source(),
        framework: "django".to_string(),
        python: String::new(),
        left_out: BTreeMap::new(),
        unexamined: 0,
        tests_left_out: BTreeMap::new(),
        mask_copies: false,
        span: None,
    };
    Manifest { header, items }
}

/// Items by both paths, in one sandbox.
pub(crate) struct Bench {
    hot: Methods,
    cold: Methods,
    tasks: BTreeMap<String, Task>,
    sandbox: Box<dyn Sandbox>,
}

impl Bench {
    pub(crate) async fn new(django: &Django, items: &[(&str, &[&str])]) -> Bench {
        let of = |path| {
            django.methods(items.iter().map(|(id, tests)| django.item(id, path, tests)).collect())
        };
        let (hot, cold) = (of(RunPath::Hot), of(RunPath::Cold));
        let tasks = hot.tasks(Split::Benchmark).await.unwrap();
        let sandbox = sandbox(&tasks[0]).await;
        let tasks = tasks.into_iter().map(|task| (task.id.clone(), task)).collect();
        Bench { hot, cold, tasks, sandbox }
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.tasks.keys().cloned().collect()
    }

    pub(crate) fn truth(&self, id: &str) -> String {
        self.hot.ground_truth().answer(&self.tasks[id], Answer::Truth).unwrap()
    }

    pub(crate) fn stub(&self, id: &str) -> String {
        self.hot.ground_truth().answer(&self.tasks[id], Answer::Stub).unwrap()
    }

    /// The declaration with a body of the caller's.
    pub(crate) fn with_body(&self, id: &str, body: &str) -> String {
        let stub = self.stub(id);
        let head = stub.strip_suffix("    raise NotImplementedError").unwrap();
        body.lines().fold(head.to_string(), |text, line| format!("{text}    {line}\n"))
    }

    pub(crate) async fn hot(&self, id: &str, candidate: &str) -> Observation {
        self.hot.evaluate(&self.tasks[id], candidate, &*self.sandbox).await.unwrap()
    }

    pub(crate) async fn cold(&self, id: &str, candidate: &str) -> Observation {
        self.cold.evaluate(&self.tasks[id], candidate, &*self.sandbox).await.unwrap()
    }

    pub(crate) async fn judge(&self, id: &str, candidate: &str) -> Verdict {
        self.hot.judge(&self.tasks[id], candidate, &*self.sandbox).await.unwrap()
    }

    /// What both paths say; they must say the same.
    pub(crate) async fn both(&self, id: &str, candidate: &str) -> Observation {
        let hot = self.hot(id, candidate).await;
        let cold = self.cold(id, candidate).await;
        assert_eq!(hot, cold, "{id}: the paths differ");
        hot
    }
}

/// A sandbox that nobody has used.
pub(crate) async fn sandbox(task: &Task) -> Box<dyn Sandbox> {
    let host = (fixfly_sandboxes::ALL[0].open)(&fixfly_sandboxes::HostOptions::default()).unwrap();
    host.open(&task.sandbox).await.unwrap()
}
