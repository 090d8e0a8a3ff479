//! Tasks and verdicts: methods of Django and of any Python project, faults, and issues.
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

use fixfly_runtime::{Benchmark, BenchmarkError, Entry, TaskKind, find};

pub mod build;
pub mod django;
pub mod faults;
mod manifest;
mod methods;
mod observe;
pub mod probe;
mod project;
pub mod python;
mod server;
pub mod source;
pub mod support;
pub mod swebench;

pub use manifest::{Header, Item, Manifest, RunPath, Source, Tests};
pub use methods::Methods;
pub use project::{ImportedFirst, Project};

/// Opens a benchmark of methods, from the directory that the user named, if any.
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
    /// The kind of the benchmark's tasks.
    pub fn kind(&self) -> TaskKind {
        match self {
            Open::Folder(_) => TaskKind::Method,
            Open::Issues(_) => TaskKind::Issue,
        }
    }
}

/// Opens the benchmark of methods of that name, from its default directory if
/// `folder` is `None`.
///
/// # Errors
/// [`BenchmarkError`] if there is none, or it has not been built.
pub fn open(name: &str, folder: Option<&Path>) -> Result<Arc<dyn Benchmark>, BenchmarkError> {
    match find("benchmark", ALL, name).map_err(BenchmarkError::Broken)?.open {
        Open::Folder(open) => open(folder),
        Open::Issues(_) => Err(BenchmarkError::Broken(format!(
            "the benchmark `{name}` needs instances: open it with a swebench::Grader"
        ))),
    }
}

/// All benchmarks.
pub const ALL: &[Entry<Open>] =
    &[django::ENTRY, python::ENTRY, faults::ENTRY, swebench::issues::ENTRY];
