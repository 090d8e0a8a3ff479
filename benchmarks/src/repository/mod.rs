//! Any git repository, without a task: a copy of it in a sandbox, its tests, and what was
//! changed.
//!
//! The copy has the files of the work tree, changes that are not committed included, and one
//! commit. The user's own files are only read. Tests run in the test server, as for methods,
//! so their results are events, not printed text. An agent that works on the copy can also
//! change the tests, so the results are not verdicts.

mod copy;
mod python;
mod suite;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{
    Answer, Benchmark, BenchmarkError, Change, GroundTruth, History, Issue, Lifetime, Limits,
    Mount, MountMode, Observation, Outcome, Sandbox, SandboxSpec, Split, Statement, Status, Task,
    Verdict, WorkTree,
};
use tempfile::TempDir;

use crate::server::{SERVER, unpack};
use crate::swebench::change::change;
use crate::swebench::evaluate::{LISTENER, listened, quoted, text};
use crate::swebench::events::Events;
use crate::swebench::issues::summary;
use python::Python;
pub(crate) use suite::{Chosen, Suite};

/// The copy's path in the sandbox.
pub(crate) const ROOT: &str = "/repo";
const NAME: &str = "repository";
/// Time limit of the user's own test command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(900);

/// Which repository to copy, and how its tests run.
#[derive(Clone, Debug, Default)]
pub struct RepositoryOptions {
    /// A folder of a git repository.
    pub folder: PathBuf,
    /// The interpreter of the tests; if `None`, that of the repository's `.venv`, of
    /// `$VIRTUAL_ENV`, or `python3`.
    pub python: Option<PathBuf>,
    /// A command that runs the tests with unittest. Ids follow it.
    pub test_command: Option<String>,
}

/// A copy of a repository. It is deleted when this is dropped.
pub struct Repository {
    name: String,
    /// The user's own folder.
    from: PathBuf,
    /// Contains `tree`, the copy, and the test server's files.
    folder: TempDir,
    python: Python,
    test_command: Option<String>,
    spec: SandboxSpec,
}

impl Repository {
    /// Copies the repository.
    ///
    /// # Errors
    /// One sentence with the remedy if the folder is no repository, or its interpreter cannot
    /// be used.
    pub fn open(options: &RepositoryOptions) -> Result<Repository, BenchmarkError> {
        let RepositoryOptions { folder: from, python, test_command } = options;
        let from = from.canonicalize().map_err(|e| {
            let shown = from.display();
            BenchmarkError::Broken(format!(
                "{shown} cannot be read: {e}; name another folder with --repo"
            ))
        })?;
        let python = Python::find(&from, python.as_deref())?;
        let cannot = |e: std::io::Error| {
            BenchmarkError::Broken(format!(
                "the repository cannot be copied to the temporary folder: {e}"
            ))
        };
        let folder = tempfile::Builder::new().prefix("fixfly-repository-").tempdir();
        let folder = folder.map_err(cannot)?;
        let tree = folder.path().join("tree");
        fs::create_dir(&tree).map_err(cannot)?;
        copy::copy(&from, &tree)?;
        let server = unpack(folder.path()).map_err(cannot)?;
        let spec = sandbox(&tree, &server, &python);
        let name = from.file_name().unwrap_or(from.as_os_str()).to_string_lossy().into_owned();
        let test_command = test_command.clone();
        Ok(Repository { name, from, folder, python, test_command, spec })
    }

    /// The work on the copy as a task, for tools: it asks for nothing.
    pub fn task(&self) -> Task {
        let statement = Statement::Issue(Issue {
            repo: self.name.clone(),
            version: String::new(),
            text: String::new(),
            root: ROOT.to_string(),
            manual: String::new(),
            history: History::All,
        });
        Task {
            id: self.name.clone(),
            benchmark: NAME.to_string(),
            budget: statement.budget(),
            statement,
            sandbox: self.spec.clone(),
            // A tool `submit` exists, so `bash` does not submit by what it prints.
            tools: vec!["submit".to_string()],
        }
    }

    /// A benchmark without tasks for each way to run the tests, by its name; the first is the
    /// default.
    pub fn frameworks(self) -> Vec<(&'static str, Arc<dyn Benchmark>)> {
        let repository = Arc::new(self);
        let mut runners: Vec<(&'static str, Runner)> = Vec::new();
        if let Some(command) = &repository.test_command {
            runners.push(("command", Runner::Command(command.clone())));
        }
        for framework in ["pytest", "unittest"] {
            runners.push((framework, Runner::Suite(repository.suite(framework))));
        }
        let framework = |(name, runner)| -> (&'static str, Arc<dyn Benchmark>) {
            (name, Arc::new(Framework { repository: Arc::clone(&repository), runner }))
        };
        runners.into_iter().map(framework).collect()
    }

    /// Its tests by `pytest` or `unittest`.
    pub(crate) fn suite(&self, framework: &'static str) -> Suite {
        let Python { host, program, .. } = &self.python;
        Suite::new(framework, &self.paths(), program, host.display().to_string())
    }

    /// The name of its folder.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The user's own folder.
    pub(crate) fn from(&self) -> &Path {
        &self.from
    }

    /// A sandbox that has the copy, but cannot change it: each turn may get another one.
    pub(crate) fn read_only(&self) -> SandboxSpec {
        let mut spec = SandboxSpec { lifetime: Lifetime::Turn, ..self.spec.clone() };
        for mount in spec.mounts.iter_mut().filter(|mount| mount.to == ROOT) {
            mount.mode = MountMode::ReadOnly;
        }
        spec
    }

    /// Folders that modules are imported from, besides the root.
    fn paths(&self) -> Vec<String> {
        let has_source = self.tree().join("src").is_dir();
        has_source.then(|| format!("{ROOT}/src")).into_iter().collect()
    }

    /// The folder of the copy.
    pub(crate) fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }
}

/// The repository, its tests run in one way.
struct Framework {
    repository: Arc<Repository>,
    runner: Runner,
}

enum Runner {
    Suite(Suite),
    Command(String),
}

#[async_trait]
impl Benchmark for Framework {
    async fn tasks(&self, _: Split) -> Result<Vec<Task>, BenchmarkError> {
        Ok(Vec::new())
    }

    fn work_tree(&self) -> Option<&dyn WorkTree> {
        Some(self)
    }

    async fn judge(
        &self,
        task: &Task,
        _: &str,
        _: &dyn Sandbox,
    ) -> Result<Verdict, BenchmarkError> {
        Err(unknown(task))
    }

    fn facts(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("repository".to_string(), self.repository.name.clone())])
    }

    fn ground_truth(&self) -> &dyn GroundTruth {
        self
    }
}

impl GroundTruth for Framework {
    fn answer(&self, task: &Task, _: Answer) -> Result<String, BenchmarkError> {
        Err(unknown(task))
    }
}

#[async_trait]
impl WorkTree for Framework {
    async fn run_tests(
        &self,
        _: &Task,
        labels: &[String],
        sandbox: &dyn Sandbox,
    ) -> Result<Observation, BenchmarkError> {
        match &self.runner {
            Runner::Suite(suite) => suite.run(labels, sandbox).await,
            Runner::Command(command) => run_command(command, labels, sandbox).await,
        }
    }

    async fn change(&self, _: &Task, sandbox: &dyn Sandbox) -> Result<Change, BenchmarkError> {
        change(&self.repository.tree(), ROOT, sandbox).await
    }
}

fn unknown(task: &Task) -> BenchmarkError {
    BenchmarkError::Broken(format!("{}: a repository without a task has no verdict", task.id))
}

/// Runs the user's own command. unittest's events are its results.
async fn run_command(
    command: &str,
    ids: &[String],
    sandbox: &dyn Sandbox,
) -> Result<Observation, BenchmarkError> {
    let ids: Vec<String> = ids.iter().map(quoted).collect();
    let script = format!(
        "export FIXFLY_EVENTS=3 PYTHONPATH={LISTENER}:\"$PYTHONPATH\"\n{command} {}",
        ids.join(" ")
    );
    let output = listened(sandbox, ROOT, &script, COMMAND_TIMEOUT).await?;
    let report = Events::read(&output.stderr).report();
    let outcome = match output.status {
        Status::TimedOut => Outcome::TimedOut,
        Status::Exited(0) if report.passed_or_skipped() => Outcome::Passed,
        _ => Outcome::Failed,
    };
    let text = summary(&report, outcome, &text(&output.stdout));
    let tests = Some(report).filter(|report| !report.results.is_empty());
    Ok(Observation { tests, ..Observation::new(outcome, text) })
}

/// The sandbox: the copy, which can be changed, and the interpreter; no network.
fn sandbox(tree: &Path, server: &Path, python: &Python) -> SandboxSpec {
    let mount =
        |from: &Path, to: &str, mode| Mount { from: from.to_path_buf(), to: to.to_string(), mode };
    let mut mounts =
        vec![mount(tree, ROOT, MountMode::Private), mount(server, SERVER, MountMode::ReadOnly)];
    mounts.extend(python.mounts.iter().cloned());
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", python.folder());
    let imports = match tree.join("src").is_dir() {
        true => format!("{ROOT}:{ROOT}/src"),
        false => ROOT.to_string(),
    };
    let env = [
        ("HOME", "/tmp"),
        ("LANG", "C.UTF-8"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "safe.directory"),
        ("GIT_CONFIG_VALUE_0", "*"),
        ("OPENBLAS_NUM_THREADS", "1"),
        ("PATH", path.as_str()),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONHASHSEED", "0"),
        ("PYTHONPATH", imports.as_str()),
        ("TERM", "dumb"),
        ("TZ", "UTC"),
    ];
    SandboxSpec {
        mounts,
        env: env.map(|(name, value)| (name.to_string(), value.to_string())).into(),
        workdir: ROOT.to_string(),
        limits: Limits { processes: 512, disk_mb: 1024, file_mb: 256, ..Limits::default() },
        lifetime: Lifetime::Episode,
        image: None,
        packages: vec!["git".to_string(), "tzdata".to_string()],
    }
}
