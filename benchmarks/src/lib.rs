//! Tasks and verdicts: methods of Django, functions and methods of any Python project,
//! faults, and issues.
//!
//! A benchmark of methods consists of a project's source, its environment and a manifest
//! of facts: which methods, which tests decide, how candidates should run. It runs
//! candidates through a test server in a sandbox and never trusts what they print. It
//! opens no sandbox, calls no model and records no episode.
//!
//! ```
//! use fixfly_benchmarks::source;
//!
//! let text = "class A:\n    def f(self):\n        return 1\n";
//! let method = &source::methods(text).unwrap()[0];
//! assert_eq!(method.qualname, "A.f");
//! assert_eq!(source::stub(text, method), "def f(self):\n    raise NotImplementedError");
//! ```

use std::path::Path;
use std::sync::Arc;

use fixfly_runtime::{Benchmark, BenchmarkError, Entry, Host, RunSpec, find};

pub mod both;
pub mod build;
pub mod django;
pub mod faults;
pub mod fix;
mod git;
pub mod import;
mod manifest;
mod methods;
mod observe;
mod places;
pub mod probe;
mod project;
pub mod python;
pub mod repository;
mod scope;
mod server;
pub mod source;
pub mod support;
pub mod swebench;

pub use manifest::{Header, Item, Manifest, RunPath, Source, Tests};
pub use methods::Methods;
pub use project::{ImportedFirst, Project};

/// Opens a benchmark of functions and methods, from the directory that the user named, if any.
pub type OpenFolder = fn(Option<&Path>) -> Result<Arc<dyn Benchmark>, BenchmarkError>;

/// How to open a benchmark.
#[derive(Clone, Copy)]
pub enum Open {
    /// From a benchmark directory.
    Folder(OpenFolder),
    /// From instances that are ready to work on.
    Issues(fn(swebench::Grader) -> Arc<dyn Benchmark>),
}

impl Open {
    /// Whether the benchmark's tasks are issues.
    pub fn has_issues(&self) -> bool {
        match self {
            Open::Folder(_) => false,
            Open::Issues(_) => true,
        }
    }
}

/// A benchmark could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The specification is invalid; the message names the flag and the remedy.
    #[error("{0}")]
    Usage(String),
    /// The benchmark cannot be used.
    #[error(transparent)]
    Benchmark(#[from] BenchmarkError),
}

/// Opens the benchmark of a run. For issues it makes each instance's work tree and
/// environment, for sandboxes of `host`; `say` gets messages about steps that take long.
///
/// # Errors
/// [`OpenError`] if there is no such benchmark, it has not been built, or the instances
/// do not fit.
pub async fn open(
    spec: &RunSpec,
    host: &dyn Host,
    say: &dyn Fn(&str),
) -> Result<Arc<dyn Benchmark>, OpenError> {
    let name = &spec.benchmark;
    let instances = spec.issues.as_ref().map(|issues| &issues.instances);
    match (find("benchmark", ALL, name).map_err(OpenError::Usage)?.open, instances) {
        (Open::Folder(open), None) => Ok(open(spec.benchmark_dir.as_deref())?),
        (Open::Folder(_), Some(_)) => Err(OpenError::Usage(format!(
            "the benchmark `{name}` has methods, not issues: remove the settings for issues"
        ))),
        (Open::Issues(open), Some(instances)) => {
            let chosen = swebench::instance::selected(instances)?;
            Ok(open(swebench::Grader::prepare(chosen, instances, host, say).await?))
        }
        (Open::Issues(_), None) => Err(OpenError::Usage(format!(
            "the benchmark `{name}` needs a table of instances: name it with --instances FILE"
        ))),
    }
}

/// How to open the benchmark of methods called `name`. A benchmark of issues is refused with
/// what to do `instead`.
///
/// # Errors
/// [`OpenError::Usage`] if there is no such benchmark, or it has issues.
pub fn find_methods(name: &str, instead: &str) -> Result<OpenFolder, OpenError> {
    let mut available = Vec::new();
    for entry in ALL {
        match entry.open {
            Open::Folder(open) if entry.name == name => return Ok(open),
            Open::Folder(_) => available.push(entry.name),
            Open::Issues(_) if entry.name == name => {
                let why = format!("the benchmark `{name}` has issues, not methods: {instead}");
                return Err(OpenError::Usage(why));
            }
            Open::Issues(_) => {}
        }
    }
    let available = available.join(", ");
    Err(OpenError::Usage(format!("unknown benchmark `{name}`; available: {available}")))
}

/// Opens the benchmark called `name`, whose items are methods with paths of their own.
///
/// # Errors
/// [`OpenError`] if there is no such benchmark, or it has not been built.
pub fn open_methods(name: &str, folder: Option<&Path>) -> Result<Methods, OpenError> {
    match name {
        "django" => Ok(django::load(folder)?),
        "python" => Ok(python::load(folder)?),
        other => Err(OpenError::Usage(format!(
            "there is no benchmark of methods `{other}`; there is: django, python"
        ))),
    }
}

/// All benchmarks.
pub const ALL: &[Entry<Open>] =
    &[django::ENTRY, python::ENTRY, faults::ENTRY, swebench::issues::ENTRY];
