//! Which tests a project has, by the part of its suite that runs in one process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use fixfly_runtime::{BenchmarkError, Host};
use serde::Deserialize;
use serde_json::{Value, json};

use super::unwritable;
use crate::project::Project;
use crate::server::Server;

/// A part of the suite that is counted in one process.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Part {
    /// Its file, if it is known.
    pub(super) file: String,
    /// Its tests; empty if the server finds them by the part's name.
    pub(super) tests: Vec<String>,
}

/// The server's answer about which tests exist.
#[derive(Deserialize)]
struct Collected {
    groups: BTreeMap<String, Part>,
    /// The modules that cannot be imported, with the reason.
    broken: Vec<(String, String)>,
    /// Plug-ins of the test framework that are installed and that fixfly turns off.
    #[serde(default)]
    off: Vec<String>,
}

/// Collects the tests of a project with its own test runner.
pub(super) async fn collect(
    project: &Project,
    host: &dyn Host,
    folder: &Path,
) -> Result<BTreeMap<String, Part>, BenchmarkError> {
    let path = folder.with_extension("tests.json");
    let answer: Value = match fs::read_to_string(&path).map(|text| serde_json::from_str(&text)) {
        Ok(Ok(known)) => known,
        _ => {
            let sandbox = host.open(project.spec()).await?;
            let config = project.server(false);
            let server = Server { sandbox: &*sandbox, config: &config };
            let answer = server.ask(&json!({"op": "collect"}), Duration::from_secs(480)).await?;
            sandbox.close().await?;
            answer
        }
    };
    let text = answer.to_string();
    let Collected { groups, broken, off } = serde_json::from_value(answer)
        .map_err(|e| BenchmarkError::Broken(format!("{} is damaged: {e}", path.display())))?;
    let framework = &project.framework;
    match (groups.is_empty(), broken.first()) {
        (true, None) => {
            Err(BenchmarkError::Broken(format!("{framework} finds no tests in the project")))
        }
        (true, Some((_, why))) => Err(BenchmarkError::Broken(format!(
            "{framework} can import none of the project's tests: {why}; \
             what they need is named by --extra or --install"
        ))),
        (false, _) => {
            for (name, why) in &broken {
                tracing::warn!("{name} is left out, as it cannot be imported: {why}");
            }
            for name in &off {
                tracing::warn!(
                    "{framework}'s plug-in {name} is turned off: it changes results from run to run"
                );
            }
            fs::write(&path, text).map_err(|e| unwritable(&path, &e))?;
            Ok(groups)
        }
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
