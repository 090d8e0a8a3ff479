//! Methods of a shop, judged by its own tests.

use std::path::Path;
use std::sync::Arc;

use fixfly_benchmarks::{Manifest, Methods, Open, Project};
use fixfly_runtime::{Benchmark, BenchmarkError, Entry};

pub(crate) const ENTRY: Entry<Open> =
    Entry { name: "shop", about: "methods of a shop (--benchmark-dir)", open: Open::Folder(open) };

fn open(folder: Option<&Path>) -> Result<Arc<dyn Benchmark>, BenchmarkError> {
    let folder = folder.ok_or_else(|| {
        let why = "the benchmark `shop` has no directory: name one with --benchmark-dir";
        BenchmarkError::Broken(why.to_owned())
    })?;
    let manifest = Manifest::read(&folder.join("manifest.jsonl"))?;
    let project = Project::open(folder, &manifest.header.framework)?;
    Ok(Arc::new(Methods::new("shop", project, manifest)))
}
