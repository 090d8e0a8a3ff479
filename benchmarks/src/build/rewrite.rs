//! Makes the bytecode that pytest wants of test modules before any candidate runs. Without
//! it, each process on the cold path compiles its tests anew, half of its time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use super::stdout_of;
use crate::project::Project;
use crate::server::{Part, SOURCE};

const REWRITE: &str = include_str!("../../environments/rewrite.py");

/// Writes the bytecode of the project's test modules. A failure costs time only.
pub(super) fn rewrite(project: &Project, parts: &BTreeMap<String, Part>) {
    if project.framework != "pytest" {
        return;
    }
    let source = project.folder.join("source");
    let mut files: BTreeSet<String> = parts.values().map(|part| part.file.clone()).collect();
    files.extend(conftests(&source, &files));
    let mut command = Command::new(project.folder.join("venv/bin/python"));
    command.args(["-I", "-c", REWRITE]).arg(&source).arg(SOURCE);
    command.args(files.iter().filter(|file| file.ends_with(".py")));
    if let Err(error) = stdout_of(command) {
        tracing::info!(%error, "pytest's bytecode of the tests could not be made");
    }
}

/// The `conftest.py` of each folder around these files.
fn conftests(source: &Path, files: &BTreeSet<String>) -> BTreeSet<String> {
    let folders = files.iter().flat_map(|file| Path::new(file).ancestors().skip(1));
    let paths: BTreeSet<_> = folders.map(|folder| folder.join("conftest.py")).collect();
    let there = paths
        .into_iter()
        .filter(|path| fs::symlink_metadata(source.join(path)).is_ok_and(|facts| facts.is_file()));
    there.map(|path| path.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_all_folders_around_a_test_count() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["conftest.py", "tests/unit/conftest.py", "docs/conftest.py"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let files = BTreeSet::from(["tests/unit/test_a.py".to_string()]);
        let expected = ["conftest.py", "tests/unit/conftest.py"].map(String::from);
        assert_eq!(conftests(folder.path(), &files), BTreeSet::from(expected));
    }
}
