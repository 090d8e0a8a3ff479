//! The Python environment of a project's tests. It contains their requirements, and never
//! an installed copy of the project itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fixfly_runtime::{BenchmarkError, sha256};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::fetch::copy;
use super::pip::last_words;
use super::unwritable;
use crate::server::SOURCE;

/// What to install, and how.
pub enum Environment<'a> {
    /// The text of a lock file, with hashes for every requirement.
    Locked(&'a str),
    /// The requirements of the project, those that it declares for its tests, and
    /// additional ones.
    Declared {
        /// Extras or dependency groups of the project that its tests need; if empty, those
        /// whose names suggest it.
        extras: &'a [String],
        /// Additional requirements, in pip's format.
        more: &'a [String],
    },
}

/// Reads what a project declares for its tests, and disables its installed copy.
const DECLARED: &str = include_str!("../../environments/declared.py");

/// Makes `folder/venv` with the requirements of the project's tests, never with the project
/// itself, and compiles everything: missing bytecode triples the time of a candidate.
/// Returns notes on what was installed without being named.
///
/// # Errors
/// One sentence with pip's last line.
pub fn environment(folder: &Path, wanted: &Environment<'_>) -> Result<Vec<String>, BenchmarkError> {
    let python = python()?;
    let venv = folder.join("venv");
    let stamp = folder.join("venv.ready");
    let wish = wanted.stamp();
    let there = fs::read_to_string(&stamp);
    // Environments without the new stamp are Django's, from its one lock.
    let mut notes = Vec::new();
    let stays = there.is_ok_and(|there| there.is_empty() || there == wish);
    if !stays || wanted.is_for_another(&python, &venv) {
        let _ = fs::remove_file(&stamp);
        for old in ["venv", "build"] {
            let _ = fs::remove_dir_all(folder.join(old));
        }
        let _ = fs::remove_file(folder.join("preload.json"));
        let mut make = Command::new(&python);
        make.args(["-m", "venv"]).arg(&venv);
        run(
            make,
            "the Python environment could not be made (on Debian: apt install python3-venv)",
        )?;
        notes = Installer { folder, venv: &venv }.install(wanted)?;
        fs::write(&stamp, wish).map_err(|e| unwritable(&stamp, &e))?;
    }
    let version =
        output(&venv.join("bin/python"), "import platform; print(platform.python_version())")?;
    let file = folder.join("python");
    fs::write(&file, version).map_err(|e| unwritable(&file, &e))?;
    // Files that contain wrong syntax on purpose do not compile; that is not a fault.
    let compile = Command::new(venv.join("bin/python"))
        .args(["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"])
        .args([folder.join("source"), venv.join("lib")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    compile
        .map(|_| notes)
        .map_err(|e| BenchmarkError::Broken(format!("bytecode could not be made: {e}")))
}

impl Environment<'_> {
    /// Whether the user names an interpreter of another version than that of `venv`.
    fn is_for_another(&self, python: &str, venv: &Path) -> bool {
        let code = "import sys; print(sys.version_info[:2])";
        let version = |python: &Path| output(python, code).ok();
        matches!(self, Environment::Declared { .. })
            && std::env::var_os("FIXFLY_PYTHON").is_some()
            && version(&venv.join("bin/python")) != version(Path::new(python))
    }

    /// The same for the same requirements, so that other requirements make another
    /// environment.
    fn stamp(&self) -> String {
        let text = match self {
            Environment::Locked(text) => format!("locked\0{text}"),
            Environment::Declared { extras, more } => {
                format!("declared\0{}\0{}\0{DECLARED}", extras.join("\0"), more.join("\0"))
            }
        };
        sha256(text.as_bytes())
    }
}

/// The output of `declared.py installable`.
#[derive(Deserialize)]
struct Installable {
    installable: bool,
    /// Why it is not.
    why: String,
    /// The requirements of a project that is no package.
    #[serde(default)]
    needs: Vec<String>,
    /// Whether it names what builds it. If not, it may be no package: `uv init` makes such.
    #[serde(default)]
    backed: bool,
}

/// The output of `declared.py wanted`.
#[derive(Deserialize)]
struct Wanted {
    /// Requirements, by where they are declared: `extra test`, `group dev`.
    #[serde(default)]
    wanted: BTreeMap<String, Vec<String>>,
    /// A requested extra or group that does not exist.
    unknown: Option<String>,
    #[serde(default)]
    known: Vec<String>,
}

/// The output of `declared.py settle`.
#[derive(Deserialize)]
struct Settled {
    /// Files that only the installed copy had.
    copied: Vec<String>,
}

struct Installer<'a> {
    folder: &'a Path,
    venv: &'a Path,
}

const FAILED: &str = "the requirements could not be installed";

impl Installer<'_> {
    fn install(&self, wanted: &Environment<'_>) -> Result<Vec<String>, BenchmarkError> {
        match wanted {
            Environment::Locked(text) => {
                let lock = self.folder.join("requirements.txt");
                fs::write(&lock, text).map_err(|e| unwritable(&lock, &e))?;
                let mut install = self.pip();
                install.args(["install", "--require-hashes", "-r"]).arg(lock);
                run(install, FAILED).map(|()| Vec::new())
            }
            Environment::Declared { extras, more } => self.declared(extras, more),
        }
    }

    fn pip(&self) -> Command {
        let mut pip = Command::new(self.venv.join("bin/python"));
        pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
        pip
    }

    fn declared(&self, extras: &[String], more: &[String]) -> Result<Vec<String>, BenchmarkError> {
        let mut notes = Vec::new();
        if !more.is_empty() {
            self.requirements(more)?;
        }
        // Builds leave files behind, which must not be taken for the project's.
        let built = self.folder.join("built-project");
        let source = self.folder.join("source");
        let project: Installable = self.ask("installable", &[&source, &built], &[])?;
        let without = match project.installable {
            true => self.project(&project, &source, &built)?,
            false => Some(project.why),
        };
        match without {
            None => {}
            Some(why) if project.needs.is_empty() => {
                let rest = "only its tests' own requirements (--install) are there";
                notes.push(format!("{why}; {rest}"));
            }
            Some(why) => {
                self.requirements(&project.needs)?;
                let needs = some(&project.needs);
                notes.push(format!("{why}; its own requirements are installed: {needs}"));
            }
        }
        notes.extend(self.test_requirements(&source, &built, extras)?);
        let paths = [source.as_path(), &built, Path::new(SOURCE)];
        let settled: Settled = self.ask("settle", &paths, &[])?;
        if !settled.copied.is_empty() {
            notes.push(format!("made by the project's build: {}", some(&settled.copied)));
        }
        let _ = fs::remove_dir_all(&built);
        let mut freeze = self.pip();
        freeze.arg("freeze");
        let file = self.folder.join("installed.txt");
        fs::write(&file, stdout_of(freeze)?).map_err(|e| unwritable(&file, &e))?;
        Ok(notes)
    }

    /// Installs the project. Returns why it cannot be one package, if it does not say what
    /// builds it.
    fn project(
        &self,
        project: &Installable,
        source: &Path,
        built: &Path,
    ) -> Result<Option<String>, BenchmarkError> {
        copy(source, built).map_err(|e| unwritable(built, &e))?;
        let mut install = self.pip();
        install.arg("install").arg(built).envs(PRETEND.map(|name| (name, "0.0.0")));
        match run(install, "the project could not be installed") {
            Err(BenchmarkError::Broken(why))
                if !project.backed && why.contains("Multiple top-level") =>
            {
                let rest = "its pyproject.toml has no [build-system]";
                Ok(Some(format!("{}, and {rest}", why.trim_end_matches('.'))))
            }
            Err(BenchmarkError::Broken(why)) => {
                let pip = self.venv.join("bin/pip");
                let remedy = format!("`{} install {}`", pip.display(), source.display());
                Err(BenchmarkError::Broken(format!("{why}; {remedy} shows the whole output")))
            }
            installed => installed.map(|()| None),
        }
    }

    /// Installs what the project declares for its tests. Requirements that were not named
    /// explicitly may fail; then all others are installed.
    fn test_requirements(
        &self,
        source: &Path,
        built: &Path,
        extras: &[String],
    ) -> Result<Vec<String>, BenchmarkError> {
        let wanted: Wanted = self.ask("wanted", &[source, built], extras)?;
        if let Some(unknown) = wanted.unknown {
            let known = match wanted.known.as_slice() {
                [] => "it has none".to_string(),
                known => format!("it has: {}", known.join(", ")),
            };
            let why = format!("the project has no extra or dependency group `{unknown}`; {known}");
            return Err(BenchmarkError::Broken(why));
        }
        let mut notes = Vec::new();
        for (origin, requirements) in &wanted.wanted {
            let all = self.requirements(requirements);
            let missing = match all {
                Ok(()) => Vec::new(),
                Err(error) if !extras.is_empty() => return Err(error),
                Err(_) => self.one_by_one(requirements),
            };
            let there: Vec<String> =
                requirements.iter().filter(|one| !missing.contains(one)).cloned().collect();
            notes.push(format!("installed for the tests ({origin}): {}", some(&there)));
            if !missing.is_empty() {
                let missing: Vec<String> = missing.into_iter().cloned().collect();
                notes.push(format!("could not be installed ({origin}): {}", some(&missing)));
            }
        }
        Ok(notes)
    }

    fn requirements(&self, requirements: &[String]) -> Result<(), BenchmarkError> {
        let mut install = self.pip();
        install.arg("install").args(requirements);
        run(install, FAILED)
    }

    fn one_by_one<'a>(&self, requirements: &'a [String]) -> Vec<&'a String> {
        let fails = |one: &&String| self.requirements(std::slice::from_ref(*one)).is_err();
        requirements.iter().filter(fails).collect()
    }

    fn ask<T: DeserializeOwned>(
        &self,
        what: &str,
        paths: &[&Path],
        names: &[String],
    ) -> Result<T, BenchmarkError> {
        let mut command = Command::new(self.venv.join("bin/python"));
        command.args(["-c", DECLARED, what]).args(paths).args(names);
        let answer = stdout_of(command)?;
        serde_json::from_str(&answer)
            .map_err(|e| BenchmarkError::Broken(format!("the environment cannot be read: {e}")))
    }
}

/// Variables from which build back ends take the version instead of asking version control.
const PRETEND: [&str; 3] =
    ["SETUPTOOLS_SCM_PRETEND_VERSION", "PBR_VERSION", "PDM_BUILD_SCM_VERSION"];

/// The first few elements of a list, for one line.
fn some(all: &[String]) -> String {
    const MOST: usize = 12;
    let shown = all.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    match all.len() {
        0 => "nothing".to_string(),
        1..=MOST => shown,
        count => format!("{shown} and {} more", count - MOST),
    }
}

/// The interpreter that makes environments: `FIXFLY_PYTHON`, or `python3`.
pub(crate) fn python() -> Result<String, BenchmarkError> {
    let python = std::env::var("FIXFLY_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let remedy = "install Python 3.11 or newer, or point FIXFLY_PYTHON at one";
    let code = "import sys; print('%d %d' % sys.version_info[:2])";
    let version = output(Path::new(&python), code)
        .map_err(|_| BenchmarkError::Broken(format!("`{python}` cannot be run: {remedy}")))?;
    let numbers: Vec<u32> = version.split_whitespace().flat_map(str::parse).collect();
    match numbers.as_slice() {
        [major, minor] if (*major, *minor) >= (3, 11) => Ok(python),
        _ => {
            let version = version.trim().replace(' ', ".");
            Err(BenchmarkError::Broken(format!("`{python}` is Python {version}: {remedy}")))
        }
    }
}

pub(crate) fn output(python: &Path, code: &str) -> Result<String, BenchmarkError> {
    let mut command = Command::new(python);
    command.args(["-c", code]);
    stdout_of(command)
}

/// The standard output of a command.
pub(crate) fn stdout_of(mut command: Command) -> Result<String, BenchmarkError> {
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
        }
        Ok(output) => Err(BenchmarkError::Broken(last_words(&output.stderr))),
        Err(e) => {
            let program = PathBuf::from(command.get_program());
            Err(BenchmarkError::Broken(format!("{} cannot be run: {e}", program.display())))
        }
    }
}

pub(crate) fn run(mut command: Command, failed: &str) -> Result<(), BenchmarkError> {
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(BenchmarkError::Broken(format!("{failed}: {}", last_words(&output.stderr))))
        }
        Err(e) => Err(BenchmarkError::Broken(format!("{failed}: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a project needs that pip does not install, by `declared.py`.
    #[test]
    fn poetrys_constraints_become_pips() {
        let check = |pyproject: &str, lock: &str, expected: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            let source = folder.path().join("source");
            fs::create_dir(&source).unwrap();
            fs::write(source.join("pyproject.toml"), pyproject).unwrap();
            fs::write(source.join("uv.lock"), lock).unwrap();
            let mut command = Command::new(python().unwrap());
            let paths = [source.as_path(), &folder.path().join("built")];
            command.args(["-c", DECLARED, "installable"]).args(paths);
            let said: Installable = serde_json::from_str(&stdout_of(command).unwrap()).unwrap();
            assert!(!said.installable, "{pyproject}");
            assert_eq!(said.needs, expected, "{pyproject}");
        };
        let poetry = |line: &str, expected: &str| {
            let start = "[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]";
            let text = format!("{start}\npython = '^3.11'\n{line}\n");
            let expected: Vec<_> = expected.lines().collect();
            check(&text, "", &expected);
        };
        poetry("six = '1.15.0'", "six==1.15.0");
        poetry("six = '^1.2.3'", "six>=1.2.3,<2");
        poetry("six = '^0.2.3'", "six>=0.2.3,<0.3");
        poetry("six = '^0.0.3'", "six>=0.0.3,<0.0.4");
        poetry("six = '~1.2'", "six>=1.2,<1.3");
        poetry("six = '~1'", "six>=1,<2");
        poetry("six = '*'", "six");
        poetry("six = '1.2.*'", "six==1.2.*");
        poetry("six = '>= 1.0 <2'", "six>=1.0,<2");
        poetry("six = '^1 || ^2'", "six>=2,<3");
        poetry("six = {version = '^1', optional = true}", "");
        poetry("six = {version = '^1', extras = ['a', 'b']}", "six[a,b]>=1,<2");
        poetry(
            "six = {version = '1.0', markers = \"os_name == 'nt'\", python = '<3.9'}",
            "six==1.0 ; (os_name == 'nt') and (python_version < \"3.9\")",
        );
        poetry(
            "six = {git = 'git@example.com:a/six.git', tag = 'v1', subdirectory = 'x'}",
            "six @ git+ssh://git@example.com/a/six.git@v1#subdirectory=x",
        );
        poetry("six = {url = 'https://x/six.whl'}", "six @ https://x/six.whl");
        poetry(
            "six = [{version = '1', platform = 'win32'}, {version = '2', platform = 'linux'}]",
            "six==1 ; sys_platform == \"win32\"\nsix==2 ; sys_platform == \"linux\"",
        );
        let project = "[project]\nname = 'x'\nversion = '1'\ndependencies = ['six<2']\n";
        let lock = "[[package]]\nname = 'x'\nsource = { virtual = '.' }\n";
        check(project, lock, &["six<2"]);
    }
}
