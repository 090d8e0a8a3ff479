//! Functions and methods of any Python project with tests, from a directory that
//! `fixfly bench build python` made.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use fixfly_runtime::{Benchmark, BenchmarkError, Entry};

use crate::Open;
use crate::manifest::write_whole;
use crate::methods::Methods;
use crate::project::{Project, manifest_of};
use crate::support::{self, Support};

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "python",
    about: "functions and methods of a Python project, judged by its tests (--benchmark-dir)",
    open: Open::Folder(open),
};

fn open(folder: Option<&Path>) -> Result<Arc<dyn Benchmark>, BenchmarkError> {
    Ok(Arc::new(load(folder)?))
}

/// Opens the benchmark of a directory.
///
/// # Errors
/// One sentence that names what is missing and the command that makes it.
pub fn load(folder: Option<&Path>) -> Result<Methods, BenchmarkError> {
    let Some(folder) = folder else {
        let remedy = "name the one that `fixfly bench build python` made with --benchmark-dir";
        return Err(BenchmarkError::Broken(format!(
            "the benchmark `python` has no directory: {remedy}"
        )));
    };
    let manifest = manifest_of(folder)?;
    let project = Project::open(folder, &manifest.header.framework)?;
    let support = Support::read(&support::file(folder, "wasm"))?;
    Ok(Methods::new("python", project, manifest).with_support([("wasm", support)]))
}

/// Puts items of the benchmark of a directory on the cold path for good.
///
/// # Errors
/// [`BenchmarkError`] if the manifest cannot be read or written.
pub fn put_on_cold_path(folder: &Path, ids: &BTreeSet<&str>) -> Result<(), BenchmarkError> {
    let mut manifest = manifest_of(folder)?;
    manifest.put_on_cold_path(ids);
    write_whole(&folder.join("manifest.jsonl"), &manifest.text())
}
