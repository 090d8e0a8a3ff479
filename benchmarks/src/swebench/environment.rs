//! Python environments of issues: interpreters and requirements, built once and found again
//! by the hash of their inputs. They never contain an installed copy of the project under
//! repair.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fixfly_runtime::{BenchmarkError, Mount, MountMode};

use super::instance::Instance;
use super::spec::Spec;
use super::tree::Mirrors;
use crate::build::{output, run, stdout_of};
use crate::manifest::short_hash;

/// Built-in locks, by project and interpreter: one that fits every version of a project is
/// installed only once.
const LOCKS: &[(&str, &str)] =
    &[("django/django 3.11", include_str!("../../swebench/locks/django-py3.11.txt"))];

/// Interpreters that the user named, by version: `3.9`.
pub type Pythons = BTreeMap<String, PathBuf>;

/// A Python environment, ready to be mounted in a sandbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// The folder of the virtual environment.
    pub venv: PathBuf,
    /// Its interpreter's full version: `3.11.2`.
    pub python: String,
    /// Whether it is the interpreter that the specification names.
    pub matches: bool,
    /// Additional folders that a sandbox mounts, or hides.
    pub mounts: Vec<Mount>,
    /// The hash of its requirements.
    pub hash: String,
}

/// The environment of an instance below `home`, made if it does not exist.
///
/// # Errors
/// One sentence with pip's last line or the remedy.
pub fn environment(
    home: &Path,
    mirrors: &Mirrors,
    spec: &Spec,
    instance: &Instance,
    pythons: &Pythons,
) -> Result<Environment, BenchmarkError> {
    let (python, version) = interpreter(&spec.python, pythons)?;
    let short = short(&version);
    let requirements = requirements(mirrors, spec, instance, &short)?;
    let hash = short_hash(format!("{version}\0{requirements}"));
    let folder = home.join("swebench/environments").join(&hash);
    let unwritable = |e: std::io::Error| {
        BenchmarkError::Broken(format!("{} cannot be written: {e}", folder.display()))
    };
    fs::create_dir_all(&folder).map_err(unwritable)?;
    let lock = fs::File::create(folder.join("lock")).map_err(unwritable)?;
    lock.lock().map_err(unwritable)?;
    let venv = folder.join("venv");
    if !folder.join("ready").exists() {
        let _ = fs::remove_dir_all(&venv);
        fs::write(folder.join("requirements.txt"), &requirements).map_err(unwritable)?;
        let any = !requirements.trim().is_empty();
        install(&python, &venv, &folder.join("requirements.txt"), any)?;
        if any {
            let mut freeze = Command::new(venv.join("bin/python"));
            freeze.args(["-m", "pip", "--disable-pip-version-check", "freeze"]);
            fs::write(folder.join("installed.txt"), stdout_of(freeze)?).map_err(unwritable)?;
        }
        fs::write(folder.join("ready"), "").map_err(unwritable)?;
    }
    let base = venv.join("bin/python").canonicalize().map_err(|e| {
        let folder = folder.display();
        BenchmarkError::Broken(format!(
            "{folder}: its interpreter is gone ({e}); delete the folder"
        ))
    })?;
    let mut mounts: Vec<Mount> = crate::project::base_mount(&base).into_iter().collect();
    if let Some(package) = &spec.package {
        mounts.extend(hidden(home, &venv, &base, package)?);
    }
    Ok(Environment { venv, matches: short == spec.python, python: version, mounts, hash })
}

fn install(
    python: &Path,
    venv: &Path,
    requirements: &Path,
    any: bool,
) -> Result<(), BenchmarkError> {
    let mut make = Command::new(python);
    make.args(["-m", "venv"]).args((!any).then_some("--without-pip")).arg(venv);
    run(make, "the Python environment could not be made (on Debian: apt install python3-venv)")?;
    if any {
        let mut install = Command::new(venv.join("bin/python"));
        install
            .args(["-m", "pip", "--quiet", "--disable-pip-version-check", "install", "-r"])
            .arg(requirements);
        run(install, "the requirements could not be installed")?;
    }
    // Missing bytecode triples the time of a run. Files with wrong syntax are not a fault.
    let mut compile = Command::new(venv.join("bin/python"));
    compile
        .args(["-m", "compileall", "-q"])
        .arg(venv.join("lib"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _ = compile.status();
    Ok(())
}

/// The requirements to install: the built-in lock, otherwise the repository's own file at
/// the environment's commit.
fn requirements(
    mirrors: &Mirrors,
    spec: &Spec,
    instance: &Instance,
    python: &str,
) -> Result<String, BenchmarkError> {
    let name = format!("{} {python}", spec.repo);
    if let Some((_, lock)) = LOCKS.iter().find(|(lock, _)| *lock == name) {
        return Ok((*lock).to_string());
    }
    let mut lines: Vec<String> = spec.packages.clone();
    if let Some(path) = &spec.requirements {
        let Instance { repo, environment_commit, base_commit, .. } = instance;
        let text = match mirrors.file(repo, environment_commit, path)? {
            None => mirrors.file(repo, base_commit, path)?,
            there => there,
        };
        let text = text.ok_or_else(|| {
            BenchmarkError::Broken(format!(
                "{}: {repo} has no {path} at {environment_commit}",
                instance.id
            ))
        })?;
        let is_left_out = |line: &str| {
            let name: String = line
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
                .collect();
            spec.without.iter().any(|other| other.eq_ignore_ascii_case(&name))
        };
        lines.extend(
            text.lines().map(str::trim).filter(|line| !is_left_out(line)).map(str::to_string),
        );
    }
    Ok(lines.join("\n"))
}

/// The interpreter for a version, with its full version: the one that the user named, an
/// installed one, or the available `python3`.
fn interpreter(wanted: &str, pythons: &Pythons) -> Result<(PathBuf, String), BenchmarkError> {
    let version =
        |python: &Path| output(python, "import platform; print(platform.python_version())").ok();
    if let Some(named) = pythons.get(wanted) {
        return version(named).map(|version| (named.clone(), version)).ok_or_else(|| {
            BenchmarkError::Broken(format!(
                "--python {wanted}={}: it cannot be run",
                named.display()
            ))
        });
    }
    let mut places = vec![
        PathBuf::from(format!("/usr/bin/python{wanted}")),
        PathBuf::from(format!("/usr/local/bin/python{wanted}")),
    ];
    let homes = [
        std::env::var_os("PYENV_ROOT").map(PathBuf::from),
        std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv")),
    ];
    for home in homes.into_iter().flatten() {
        let installed = fs::read_dir(home.join("versions")).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = installed
            .filter(|entry| short(&entry.file_name().to_string_lossy()) == wanted)
            .map(|entry| entry.path().join("bin/python3"))
            .collect();
        found.sort();
        places.extend(found.pop());
    }
    let usable = places
        .into_iter()
        .filter(|place| place.exists())
        .find_map(|place| version(&place).map(|version| (place, version)));
    if let Some(found) = usable.filter(|(_, version)| short(version) == wanted) {
        return Ok(found);
    }
    let python = crate::build::python()?;
    let version = version(Path::new(&python)).unwrap_or_default();
    Ok((PathBuf::from(python), version))
}

/// `3.11` of `3.11.2`.
fn short(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Mounts that hide this machine's other copies of the project behind an empty folder. A
/// copy in the environment itself is an error.
fn hidden(
    home: &Path,
    venv: &Path,
    base: &Path,
    package: &str,
) -> Result<Vec<Mount>, BenchmarkError> {
    let libraries = |prefix: &Path| -> Vec<PathBuf> {
        let versions = ["lib", "lib64"]
            .iter()
            .flat_map(|lib| fs::read_dir(prefix.join(lib)).into_iter().flatten().flatten());
        let folders =
            versions.filter(|entry| entry.file_name().to_string_lossy().starts_with("python"));
        folders
            .flat_map(|entry| {
                ["site-packages", "dist-packages"].map(|name| entry.path().join(name).join(package))
            })
            .collect()
    };
    if let Some(copy) = libraries(venv).into_iter().find(|place| place.exists()) {
        let copy = copy.display();
        return Err(BenchmarkError::Broken(format!(
            "{copy}: the environment holds a copy of the project under repair; leave out what installs it"
        )));
    }
    let nothing = home.join("swebench/nothing");
    fs::create_dir_all(&nothing)
        .map_err(|e| BenchmarkError::Broken(format!("{}: {e}", nothing.display())))?;
    let prefix = base.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
    let mut places: Vec<PathBuf> = [prefix, Path::new("/usr"), Path::new("/usr/local")]
        .into_iter()
        .flat_map(libraries)
        .collect();
    places.sort();
    places.dedup();
    places.retain(|place| place.is_dir());
    let cover = |place: PathBuf| Mount {
        from: nothing.clone(),
        to: place.to_string_lossy().into_owned(),
        mode: MountMode::ReadOnly,
    };
    Ok(places.into_iter().map(cover).collect())
}
