//! Which tests a project has, by the part of its suite that runs in one process.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fixfly_runtime::{BenchmarkError, Host, printable};
use serde_json::Value;

use super::fate::needs_newer;
use super::rewrite::rewrite;
use super::unwritable;
use crate::project::Project;
use crate::server::{Collected, Part, Server};

/// Collects the tests of a project with its own test runner.
pub(super) async fn collect(
    project: &Project,
    host: &dyn Host,
    folder: &Path,
) -> Result<BTreeMap<String, Part>, BenchmarkError> {
    let path = folder.with_extension("tests.json");
    let known = path.exists();
    let answer: Value = match fs::read_to_string(&path).map(|text| serde_json::from_str(&text)) {
        Ok(Ok(known)) => known,
        _ => {
            let sandbox = host.open(project.spec()).await?;
            let config = project.server(false);
            let server = Server { sandbox: &*sandbox, config: &config };
            let answer = server.collect(None).await?;
            sandbox.close().await?;
            answer
        }
    };
    let text = answer.to_string();
    let Collected { groups, broken, off } = serde_json::from_value(answer)
        .map_err(|e| BenchmarkError::Broken(format!("{} is damaged: {e}", path.display())))?;
    let framework = &project.framework;
    match (groups.is_empty(), broken.first()) {
        (true, None) => Err(BenchmarkError::Broken(format!(
            "{framework} finds no tests in the project; choose the framework that it has tests \
             for with --tests pytest or --tests unittest"
        ))),
        (true, Some((_, why))) => {
            Err(BenchmarkError::Broken(needs_newer(project).unwrap_or_else(|| {
                format!(
                    "{framework} can import none of the project's tests: {why}; \
                     what they need is named by --extra or --install{}",
                    requirements(&project.folder.join("source"))
                )
            })))
        }
        (false, _) => {
            for (name, why) in &broken {
                tracing::warn!("{name} is left out, as it cannot be imported: {why}");
            }
            for name in &off {
                tracing::warn!(
                    "{framework}'s plug-in {name} is turned off: it changes results from run to run"
                );
            }
            if !known {
                rewrite(project, &groups);
                fs::write(&path, text).map_err(|e| unwritable(&path, &e))?;
            }
            Ok(groups)
        }
    }
}

/// How the files of requirements that a project has are named: `, as --install=-rPATH`.
fn requirements(source: &Path) -> String {
    let names = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path()).filter(|path| path.is_file());
        files.filter(|path| path.extension().is_some_and(|kind| kind == "txt")).collect()
    };
    let is_named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().contains("requirements"))
    };
    let mut files: Vec<_> = names(source).into_iter().filter(is_named).collect();
    files.extend(names(&source.join("requirements")));
    files.sort();
    let flag = |path: &PathBuf| format!("`--install=-r{}`", printable(&path.to_string_lossy()));
    match files.iter().map(flag).collect::<Vec<_>>().join(", ") {
        flags if flags.is_empty() => String::new(),
        flags => format!(", as {flags}"),
    }
}

/// The parts of Django's tests: their folders.
pub(super) fn labels(project: &Project) -> BTreeMap<String, Part> {
    let aside = ["data", "import_error_package", "test_runner_apps", "gis_tests"];
    let tests = project.folder.join("source/tests");
    let folders = fs::read_dir(tests).into_iter().flatten().flatten();
    folders
        .filter(|entry| entry.path().join("__init__.py").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|label| !aside.contains(&label.as_str()))
        .map(|label| (label, Part::default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_requirements_are_named() {
        let check = |files: &[&str], expected: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("requirements")).unwrap();
            for file in files {
                fs::write(folder.path().join(file), "six\n").unwrap();
            }
            let shown = folder.path().display();
            let flags: Vec<_> =
                expected.iter().map(|name| format!("`--install=-r{shown}/{name}`")).collect();
            let expected = match flags.is_empty() {
                true => String::new(),
                false => format!(", as {}", flags.join(", ")),
            };
            assert_eq!(requirements(folder.path()), expected, "{files:?}");
        };
        check(&[], &[]);
        check(&["pyproject.toml", "notes.txt", "requirements.in"], &[]);
        check(&["requirements.txt"], &["requirements.txt"]);
        let several = ["requirements-dev.txt", "requirements/base.txt", "test-requirements.txt"];
        check(&several, &["requirements/base.txt", "requirements-dev.txt", several[2]]);
    }
}
