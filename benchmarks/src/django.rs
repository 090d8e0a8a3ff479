//! Methods of Django, judged by Django's own tests.
//!
//! The manifest of the pinned release is part of the binary, so a user needs the source
//! archive and an environment, but no census.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fixfly_runtime::{Benchmark, BenchmarkError, Entry, home};

use crate::Open;
use crate::build::{self, Environment};
use crate::manifest::{Manifest, Source};
use crate::methods::Methods;
use crate::project::{Project, manifest_of};
use crate::support::{self, Support};

/// Number of items of the benchmark split, as in the paper.
pub const ITEMS: usize = 397;

const REQUIREMENTS: &str = include_str!("../environments/django.txt");
const WASM: &str = include_str!("../manifests/django-5.2.wasm.jsonl");
const MANIFEST: &str = include_str!("../manifests/django-5.2.jsonl");

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "django",
    about: "methods of Django 5.2, judged by Django's own test suite",
    open: Open::Folder(open),
};

/// The release that the manifest describes.
pub fn source() -> Source {
    Source {
        package: "Django".to_string(),
        version: "5.2.19".to_string(),
        sha256: "ad03d8abc51dbff95ebf34b27123cf0c26a3b62db7ba0cd520783686362533d1".to_string(),
    }
}

/// The default benchmark directory.
pub fn folder() -> PathBuf {
    home().join("benchmarks").join(format!("django-{}", source().version))
}

/// Fetches the release and makes its environment; fast if both exist.
///
/// # Errors
/// One sentence, for example about the network, a wrong hash, a missing Python or a full
/// disk.
pub fn fetch(folder: &Path, archive: Option<&Path>) -> Result<Project, BenchmarkError> {
    build::released(folder, &source(), archive)?;
    build::environment(folder, &Environment::Locked(REQUIREMENTS))?;
    Project::open(folder, "django")
}

/// The manifest that is part of this binary.
///
/// # Errors
/// [`BenchmarkError`] if the binary was built with a broken one.
pub fn shipped() -> Result<Manifest, BenchmarkError> {
    Manifest::parse(MANIFEST, "the manifest of this fixfly")
}

fn open(folder: Option<&Path>) -> Result<Arc<dyn Benchmark>, BenchmarkError> {
    Ok(Arc::new(load(folder)?))
}

/// Opens the benchmark with the directory's own manifest if it has one, otherwise with the
/// binary's.
///
/// # Errors
/// One sentence that names what is missing and the command that makes it.
pub fn load(chosen: Option<&Path>) -> Result<Methods, BenchmarkError> {
    let folder = chosen.map_or_else(self::folder, Path::to_path_buf);
    if !folder.join("venv.ready").exists() {
        let remedy = "run `fixfly bench build django` first";
        return Err(BenchmarkError::Broken(format!(
            "{}: Django is not here yet; {remedy}",
            folder.display()
        )));
    }
    let manifest = match folder.join("manifest.jsonl").exists() {
        true => manifest_of(&folder)?,
        false => shipped()?,
    };
    if manifest.header.source != source() {
        let Source { package, version, .. } = &manifest.header.source;
        return Err(BenchmarkError::Broken(format!(
            "{}: the manifest is of {package} {version}, not of Django {}; delete it to use the shipped one",
            folder.join("manifest.jsonl").display(),
            source().version,
        )));
    }
    let mut support = Support::parse(WASM, "the facts of this fixfly")?;
    support.extend(Support::read(&support::file(&folder, "wasm"))?);
    let project = Project::open(&folder, "django")?;
    Ok(Methods::new("django", project, manifest).with_support([("wasm", support)]))
}
