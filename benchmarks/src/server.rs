//! The test server in a sandbox, as seen from outside.
//!
//! The server itself is Python, in `benchmarks/server/`. It is part of the binary and is
//! mounted in the sandbox at [`SERVER`].

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fixfly_runtime::{
    BenchmarkError, Command, Outcome, Sandbox, SandboxError, TestOutcome, TestReport, TestResult,
    write_whole,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::manifest::{RunPath, short_hash};
use crate::source;

/// The server's path in the sandbox.
pub(crate) const SERVER: &str = "/fixfly";
/// The project's path in the sandbox.
pub(crate) const SOURCE: &str = "/src";
/// The Python environment's path in the sandbox.
pub(crate) const ENVIRONMENT: &str = "/env";

const NAME: &str = "test server";
/// Time limit for starting the server or a test group, in addition to the tests.
const PATIENCE: Duration = Duration::from_secs(180);

const FILES: [(&str, &str); 22] = [
    ("start.py", include_str!("../server/start.py")),
    ("server.py", include_str!("../server/server.py")),
    ("instances.py", include_str!("../server/instances.py")),
    ("alone.py", include_str!("../server/alone.py")),
    ("ready_django.py", include_str!("../server/ready_django.py")),
    ("lacking.py", include_str!("../server/lacking.py")),
    ("fresh.py", include_str!("../server/fresh.py")),
    ("zygote.py", include_str!("../server/zygote.py")),
    ("forked.py", include_str!("../server/forked.py")),
    ("held.py", include_str!("../server/held.py")),
    ("isolate.py", include_str!("../server/isolate.py")),
    ("report.py", include_str!("../server/report.py")),
    ("hot.py", include_str!("../server/hot.py")),
    ("live.py", include_str!("../server/live.py")),
    ("watch.py", include_str!("../server/watch.py")),
    ("whole.py", include_str!("../server/whole.py")),
    ("probe.py", include_str!("../server/probe.py")),
    ("repeat.py", include_str!("../server/repeat.py")),
    ("fake_clock.py", include_str!("../server/fake_clock.py")),
    ("suite_django.py", include_str!("../server/suite_django.py")),
    ("suite_unittest.py", include_str!("../server/suite_unittest.py")),
    ("suite_pytest.py", include_str!("../server/suite_pytest.py")),
];

/// Writes the server's files below `folder`, into a folder named after their hash.
pub(crate) fn unpack(folder: &Path) -> io::Result<PathBuf> {
    let all: String = FILES.iter().map(|(_, text)| *text).collect();
    let target = folder.join(format!("server-{}", short_hash(all.as_bytes())));
    fs::create_dir_all(&target)?;
    for (name, text) in FILES {
        let path = target.join(name);
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            continue;
        }
        write_whole(&path, text)?;
    }
    Ok(target)
}

/// The configuration of a server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Config {
    pub(crate) root: &'static str,
    pub(crate) framework: String,
    pub(crate) preload: Vec<String>,
    pub(crate) probe: bool,
    /// Folders that modules are imported from, after the root.
    pub(crate) paths: Vec<String>,
    /// The interpreter that runs the server: its path in the sandbox, after programs that
    /// start it.
    #[serde(skip)]
    pub(crate) python: Vec<String>,
}

/// A candidate to run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Request {
    pub(crate) path: RunPath,
    /// Path relative to the project.
    pub(crate) file: String,
    /// The contents of the whole file, in base64.
    pub(crate) content: String,
    pub(crate) tests: Vec<String>,
    /// Whether the tests run in the reverse order; on the cold path only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reversed: bool,
    /// Whether the candidate may start in a process that imported the project, where the
    /// server proves that this changes nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) shared: bool,
    /// The data for the hot path, of each method.
    pub(crate) methods: Vec<Swap>,
    pub(crate) limits: Limits,
}

impl Request {
    /// Lets `candidate` share the prefix of the cold path, unless it should be reviewed: only a
    /// process of its own never held the original, which such code could look for.
    pub(crate) fn sharing(mut self, candidate: &str) -> Self {
        let is_one = self.methods.len() == 1;
        self.shared = is_one && source::review(candidate).is_ok_and(|found| found.is_empty());
        self
    }
}

/// A method to swap into a process that has imported its module.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Swap {
    pub(crate) classes: Vec<String>,
    pub(crate) name: String,
    /// Line of the original's first decorator or of its `def`, from 1.
    pub(crate) first_line: usize,
    /// Line of `def` in the candidate's file, from 1.
    pub(crate) line: usize,
    /// The method, as it is in the candidate's file.
    pub(crate) source: String,
    /// How many lines more the candidate's file has than the original.
    pub(crate) lines: i64,
}

/// The limits of one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Limits {
    /// Wall-clock seconds for each test group.
    pub(crate) wall: u64,
    /// CPU seconds.
    pub(crate) cpu: u64,
    pub(crate) memory_mb: u64,
}

impl Limits {
    /// Limits for tests that take `seconds` of CPU with the original.
    pub(crate) fn for_tests(seconds: f64) -> Self {
        let cpu = 5 + (seconds * 4.0).ceil() as u64;
        // The wall limit is only for tests that wait: a busy machine must not fail an
        // honest candidate.
        Limits { wall: 30 + cpu * 4, cpu, memory_mb: 2048 }
    }
}

/// The result of a candidate.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Answer {
    pub(crate) path: RunPath,
    pub(crate) outcome: Outcome,
    pub(crate) results: Vec<TestResult>,
    /// CPU seconds of the candidate's process.
    pub(crate) cpu: f64,
    /// Whether it shared the prefix of the cold path.
    #[serde(default)]
    pub(crate) shared: bool,
    /// Why it took the cold path alone, if another way was requested.
    #[serde(default)]
    pub(crate) unsure: Option<String>,
}

impl Answer {
    pub(crate) fn report(&self) -> TestReport {
        TestReport { results: self.results.clone() }
    }

    /// The tests that passed.
    pub(crate) fn passed(&self) -> impl Iterator<Item = &str> {
        let good = self.results.iter().filter(|result| result.outcome == TestOutcome::Passed);
        good.map(|result| result.id.as_str())
    }

    /// The tests that did not pass.
    pub(crate) fn bad(&self) -> impl Iterator<Item = &TestResult> {
        self.results.iter().filter(|result| result.outcome != TestOutcome::Passed)
    }

    /// Each test and its outcome.
    pub(crate) fn outcomes(&self) -> Vec<(&str, TestOutcome)> {
        self.results.iter().map(|result| (result.id.as_str(), result.outcome)).collect()
    }

    /// Whether another answer has the same outcome, and the same of each test.
    pub(crate) fn agrees(&self, other: &Answer) -> bool {
        self.outcome == other.outcome && self.outcomes() == other.outcomes()
    }
}

/// The answer about which tests exist.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Collected {
    pub(crate) groups: BTreeMap<String, Part>,
    /// The parts that cannot be imported, with the reason.
    pub(crate) broken: Vec<(String, String)>,
    /// Plug-ins of the test framework that are installed and that fixfly turns off.
    #[serde(default)]
    pub(crate) off: Vec<String>,
}

/// A part of a suite that is imported together: a file or a module.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Part {
    /// Its file below the root; empty if it is not known.
    pub(crate) file: String,
    /// Its tests; empty if the server finds them by the part's name.
    pub(crate) tests: Vec<String>,
}

/// The test server of one sandbox.
pub(crate) struct Server<'a> {
    pub(crate) sandbox: &'a dyn Sandbox,
    pub(crate) config: &'a Config,
}

impl Server<'_> {
    /// Runs one candidate.
    pub(crate) async fn run(&self, request: &Request) -> Result<Answer, BenchmarkError> {
        let mut line = serde_json::to_value(request).map_err(garbled)?;
        line["op"] = json!("run");
        let groups = request.tests.len().max(1) as u64;
        let timeout = Duration::from_secs(2 * request.limits.wall * groups) + PATIENCE;
        let answer: Answer = self.ask(&line, timeout).await?;
        tracing::debug!(
            file = request.file,
            path = ?answer.path,
            shared = answer.shared,
            tests = request.tests.len(),
            outcome = ?answer.outcome,
            cpu = answer.cpu,
            "a candidate was run"
        );
        Ok(answer)
    }

    /// Collects the tests of these files, or all.
    pub(crate) async fn collect<T: for<'de> Deserialize<'de>>(
        &self,
        files: Option<&[String]>,
    ) -> Result<T, BenchmarkError> {
        let request = serde_json::json!({ "op": "collect", "files": files });
        self.ask(&request, Duration::from_secs(480)).await
    }

    /// Sends any request. An answer with `error` is an error.
    pub(crate) async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        request: &Value,
        timeout: Duration,
    ) -> Result<T, BenchmarkError> {
        let config = serde_json::to_string(self.config).map_err(garbled)?;
        let server = format!("{SERVER}/start.py");
        let python = self.config.python.iter().map(String::as_str);
        let command = Command::new(python.chain(["-B", &server, &config]));
        let name = if self.config.probe { "census server" } else { NAME };
        let process = self.sandbox.spawn(name, &command).await?;
        let answer = process.ask(&request.to_string(), timeout).await?;
        let answer: Value = serde_json::from_str(&answer).map_err(garbled)?;
        if let Some(why) = answer.get("error").and_then(Value::as_str) {
            let last = why.trim_end().lines().last().unwrap_or_default();
            tracing::debug!(why, "the test server could not answer");
            return Err(SandboxError::Process {
                name: NAME.into(),
                why: format!("failed: {last}"),
            }
            .into());
        }
        serde_json::from_value(answer).map_err(garbled)
    }
}

fn garbled(error: serde_json::Error) -> BenchmarkError {
    let why = format!("answered what is not JSON of its protocol: {error}");
    SandboxError::Process { name: NAME.into(), why }.into()
}
