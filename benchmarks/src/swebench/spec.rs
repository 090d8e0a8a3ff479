//! Specifications: what a project's version needs to run its tests, in one TOML file per
//! project.

use std::collections::BTreeMap;
use std::path::Path;

use fixfly_runtime::BenchmarkError;
use serde::Deserialize;

use super::instance::Instance;
use super::log::Parser;
use super::patch::{FilePatch, files, is_test_by_custom};

/// Built-in specifications.
const OWN: [(&str, &str); 1] = [("django.toml", include_str!("../../swebench/specs/django.toml"))];

/// Types of files in a test patch that contain no tests.
const NO_TESTS: [&str; 11] =
    [".json", ".png", "csv", ".txt", ".md", ".jpg", ".jpeg", ".pkl", ".yml", ".yaml", ".toml"];

/// What one version of a project needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// `django/django`.
    pub repo: String,
    /// `4.2`.
    pub version: String,
    /// The interpreter with which the table's results were made: `3.9`.
    pub python: String,
    /// The package that no environment may contain a copy of.
    pub package: Option<String>,
    /// The parser of the log.
    pub log_parser: Parser,
    /// How files become labels.
    pub labels: Labels,
    /// Prefixes of the paths of tests; if empty, conventions decide.
    pub tests: Vec<String>,
    /// Whether unittest's events are read, too.
    pub events: bool,
    /// The file of requirements in the repository.
    pub requirements: Option<String>,
    /// Additional requirements, in pip's format.
    pub packages: Vec<String>,
    /// Names of requirements to leave out.
    pub without: Vec<String>,
    /// The test command; the labels follow it.
    pub test: String,
    /// Variables it needs.
    pub env: BTreeMap<String, String>,
}

/// How files of a test patch become labels.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// Paths as they are.
    Files,
    /// Dotted modules, relative to a folder.
    Modules(String),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    repo: String,
    package: Option<String>,
    log_parser: Parser,
    labels: Labels,
    #[serde(default)]
    tests: Vec<String>,
    #[serde(default)]
    events: bool,
    #[serde(default)]
    requirements: String,
    #[serde(default)]
    packages: Vec<String>,
    #[serde(default)]
    without: Vec<String>,
    test: String,
    #[serde(default)]
    env: BTreeMap<String, String>,
    version: Vec<Version>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Version {
    versions: Vec<String>,
    python: String,
    requirements: Option<String>,
    packages: Option<Vec<String>>,
    test: Option<String>,
    env: Option<BTreeMap<String, String>>,
}

/// All specifications, by project and version.
#[derive(Clone, Debug, Default)]
pub struct Specs {
    all: BTreeMap<(String, String), Spec>,
}

impl Specs {
    /// Loads the built-in specifications and those of a folder, which take precedence.
    ///
    /// # Errors
    /// One sentence that names the file and what is wrong with it.
    pub fn load(folder: Option<&Path>) -> Result<Specs, BenchmarkError> {
        let mut specs = Specs::default();
        for (name, text) in OWN {
            specs.add(name, text)?;
        }
        let Some(folder) = folder else { return Ok(specs) };
        let cannot =
            |e: std::io::Error| BenchmarkError::Broken(format!("{}: {e}", folder.display()));
        let mut paths: Vec<_> = std::fs::read_dir(folder)
            .map_err(cannot)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(cannot)?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        for path in paths {
            specs.add(
                &path.display().to_string(),
                &fixfly_runtime::read_text(&path).map_err(cannot)?,
            )?;
        }
        Ok(specs)
    }

    fn add(&mut self, name: &str, text: &str) -> Result<(), BenchmarkError> {
        let file: File = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
            BenchmarkError::Broken(format!("{name}:{line}: {}", e.message()))
        })?;
        for group in &file.version {
            for version in &group.versions {
                let key = (file.repo.clone(), version.clone());
                self.all.insert(key, spec(&file, group, version));
            }
        }
        Ok(())
    }

    /// The specification of an instance.
    ///
    /// # Errors
    /// One sentence that lists the available ones.
    pub fn of(&self, instance: &Instance) -> Result<&Spec, BenchmarkError> {
        let Instance { id, repo, version, .. } = instance;
        self.all.get(&(repo.clone(), version.clone())).ok_or_else(|| {
            let there: Vec<&str> = self
                .all
                .keys()
                .filter(|(other, _)| other == repo)
                .map(|(_, version)| version.as_str())
                .collect();
            let there = match there.as_slice() {
                [] => format!("there is none of {repo}"),
                versions => format!("there is: {}", versions.join(", ")),
            };
            BenchmarkError::Broken(format!(
                "{id}: no specification of {repo} {version}: {there}; write one and name its folder by --specs"
            ))
        })
    }
}

fn spec(file: &File, group: &Version, version: &str) -> Spec {
    let requirements = group.requirements.as_ref().unwrap_or(&file.requirements);
    let mut env = file.env.clone();
    env.extend(group.env.clone().unwrap_or_default());
    Spec {
        repo: file.repo.clone(),
        version: version.to_string(),
        python: group.python.clone(),
        package: file.package.clone(),
        log_parser: file.log_parser,
        labels: file.labels.clone(),
        tests: file.tests.clone(),
        events: file.events,
        requirements: Some(requirements.clone()).filter(|path| !path.is_empty()),
        packages: group.packages.as_ref().unwrap_or(&file.packages).clone(),
        without: file.without.clone(),
        test: group.test.as_ref().unwrap_or(&file.test).clone(),
        env,
    }
}

impl Spec {
    /// The labels to run for a test patch: whole files, never single tests.
    pub fn labels(&self, test_patch: &str) -> Vec<Vec<u8>> {
        let files = files(test_patch.as_bytes());
        let paths = files.iter().map(FilePatch::path);
        let tests = paths.filter(|path| !NO_TESTS.iter().any(|end| path.ends_with(end.as_bytes())));
        let label = |path: &[u8]| match &self.labels {
            Labels::Files => path.to_vec(),
            Labels::Modules(folder) => {
                let path = path.strip_suffix(b".py").unwrap_or(path);
                let path = path.strip_prefix(folder.as_bytes()).unwrap_or(path);
                path.split(|byte| *byte == b'/').collect::<Vec<_>>().join(&b'.')
            }
        };
        tests.map(label).collect()
    }

    /// Whether a path belongs to a test; changes of it are not part of a fix.
    pub fn is_test(&self, path: &str) -> bool {
        match self.tests.as_slice() {
            [] => is_test_by_custom(path),
            tests => tests.iter().any(|test| path.starts_with(test.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn django_is_complete() {
        let specs = Specs::load(None).unwrap();
        let of = |version: &str| &specs.all[&("django/django".to_string(), version.to_string())];
        let (one, five) = (of("1.9"), of("5.0"));
        assert_eq!(
            (one.python.as_str(), one.test.as_str()),
            ("3.5", "./tests/runtests.py --verbosity 2")
        );
        assert_eq!(five.python, "3.11");
        assert_eq!(of("1.5").requirements, None);
        let versions = [
            "1.4", "1.5", "1.6", "1.7", "1.8", "1.9", "1.10", "1.11", "2.0", "2.1", "2.2", "3.0",
            "3.1", "3.2", "4.0", "4.1", "4.2", "5.0", "5.1", "5.2", "6.0",
        ];
        assert!(versions.iter().all(|version| of(version).log_parser == Parser::Django));
    }

    #[test]
    fn labels_are_modules_and_never_data() {
        let specs = Specs::load(None).unwrap();
        let spec = &specs.all[&("django/django".to_string(), "5.0".to_string())];
        let patch = "diff --git a/tests/a/tests.py b/tests/a/tests.py\n--- a/tests/a/tests.py\n+++ b/tests/a/tests.py\n\
                     diff --git a/tests/a/b.json b/tests/a/b.json\ndiff --git a/tests/c/x.py b/tests/c/x.py\n";
        assert_eq!(spec.labels(patch), [b"a.tests".as_slice(), b"c.x"]);
        let quoted = "--- /dev/null\n+++ \"b/tests/test_d\\303\\251.py\"\n@@ -0,0 +1 @@\n+x\n";
        assert_eq!(spec.labels(quoted), ["test_dé".as_bytes()]);
        assert!(spec.is_test("tests/a.py") && !spec.is_test("django/test/client.py"));
    }

    #[test]
    fn a_fault_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.toml"), "repo = \"a/b\"\nparser = \"x\"\n").unwrap();
        let why = Specs::load(Some(folder.path())).unwrap_err().to_string();
        assert!(why.contains("a.toml:2: unknown field `parser`"), "{why}");
    }
}
