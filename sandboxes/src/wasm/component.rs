//! Python as a component: made with PyPI's `componentize-py`, compiled once for this
//! machine, and kept in fixfly's own folder under the hash of its inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::UNIX_EPOCH;

use fixfly_runtime::{Mount, hex, home, write_whole};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::instance::{Machine, engine};

/// Packages from PyPI, by version and hash: CPython 3.14 for WASI, and the tool that makes
/// a component of it; for x86-64 and ARM.
const PINNED: &str = "componentize-py==0.25.1 \
    --hash=sha256:8623cd8cab8453cb0cd8bf03f3c7103420d06f2f3d360186a280a70a1ca5e89f \
    --hash=sha256:7b6a87c520358166843af0daa86d2312d7af4cbcbbf1e598951085cf7f2991ca\n";
const WORLD: &str = include_str!("guest/world.wit");
const RUNNER: &str = include_str!("guest/runner.py");

/// The progress of making a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Fetching CPython for WASI from PyPI.
    Fetching,
    /// Starting Python and saving its memory.
    Starting,
    /// Compiling to this machine's code.
    Compiling,
}

/// The folder of the components, and of live sandboxes' files.
pub(super) fn folder() -> PathBuf {
    home().join("wasm")
}

/// A project to import once, into the memory that instances start with.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Its packages and their dependencies: folders of the host, and their paths inside.
    pub packages: Vec<(PathBuf, String)>,
    /// The module that imports them: its folder on the host, that folder's path inside, and
    /// the module's name.
    pub script: (PathBuf, String, String),
}

/// Makes the component, unless it exists. Returns its file.
///
/// # Errors
/// One sentence, for example about the network, a missing Python or a full disk.
pub fn build(tell: &dyn Fn(Step)) -> Result<PathBuf, String> {
    let engine = engine()?;
    let target = place(&engine);
    match target.exists() {
        true => Ok(target),
        false => make(&engine, None, &target, tell).map(|()| target),
    }
}

/// Makes a component that has imported a project, unless it exists. Returns its file.
/// Without it, every program imports the project again.
///
/// # Errors
/// As [`build`], and if the project's files cannot be read.
pub fn build_ready(ready: &Ready, tell: &dyn Fn(Step)) -> Result<PathBuf, String> {
    let engine = engine()?;
    let note = Note::of(ready);
    let target = note.place(&engine);
    if target.exists() && Note::read(&target).is_some_and(|there| there == note) {
        return Ok(target);
    }
    make(&engine, Some(ready), &target, tell)?;
    note.write(&target).map_err(|why| format!("{}: {why}", target.display()))?;
    Ok(target)
}

/// The inputs of a ready component, so that it is not used with other files.
#[derive(PartialEq, Serialize, Deserialize)]
struct Note {
    /// Folders of the host, by their path inside.
    packages: BTreeMap<String, PathBuf>,
    /// Hash of the names, sizes and modification times of their files.
    stamp: String,
    /// Path of the script's folder inside.
    script: String,
    /// Hash of the contents of that folder's Python files.
    #[serde(alias = "says")]
    script_hash: String,
}

impl Note {
    fn of(ready: &Ready) -> Note {
        let real = |path: &Path| path.canonicalize().unwrap_or(path.to_path_buf());
        let packages: BTreeMap<_, _> =
            ready.packages.iter().map(|(from, to)| (to.clone(), real(from))).collect();
        let (folder, script, _) = &ready.script;
        Note {
            stamp: stamp(&packages),
            packages,
            script: script.clone(),
            script_hash: python_hash(folder),
        }
    }

    fn place(&self, engine: &Engine) -> PathBuf {
        let mut hasher = Sha256::new();
        hasher.update(recipe(engine));
        for (to, from) in &self.packages {
            hasher.update(format!("{to}\0{}\0", from.display()));
        }
        folder().join(format!("ready-{}.cwasm", &hex(hasher.finalize())[..16]))
    }

    fn read(component: &Path) -> Option<Note> {
        serde_json::from_slice(&fs::read(component.with_extension("json")).ok()?).ok()
    }

    fn write(&self, component: &Path) -> io::Result<()> {
        fs::write(component.with_extension("json"), serde_json::to_vec(self)?)
    }

    /// Whether sandboxes with these mounts contain the inputs of the component.
    fn fits(&self, mounts: &[Mount]) -> bool {
        let shown = |(to, from): (&String, &PathBuf)| {
            mounts.iter().any(|mount| {
                let rest = to.strip_prefix(&mount.to).map(|rest| rest.trim_start_matches('/'));
                rest.is_some_and(|rest| {
                    mount.from.join(rest).canonicalize().is_ok_and(|real| real == *from)
                })
            })
        };
        let script = mounts.iter().find(|mount| mount.to == self.script);
        self.packages.iter().all(shown)
            && script.is_some_and(|mount| python_hash(&mount.from) == self.script_hash)
            && stamp(&self.packages) == self.stamp
    }
}

fn stamp(packages: &BTreeMap<String, PathBuf>) -> String {
    let mut hasher = Sha256::new();
    packages.values().for_each(|folder| add(&mut hasher, folder));
    hex(hasher.finalize())
}

/// Hashes the names, sizes and modification times of a folder's Python files.
fn add(hasher: &mut Sha256, folder: &Path) {
    for path in entries(folder) {
        let Ok(about) = fs::symlink_metadata(&path) else { continue };
        if about.is_dir() {
            add(hasher, &path);
        } else if path.extension().is_some_and(|end| end == "py") {
            let changed = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            hasher.update(format!("{}\0{}\0{changed:?}\0", path.display(), about.len()));
        }
    }
}

/// Hash of the contents of a folder's Python files. The bytecode that Python puts beside
/// them is ignored.
fn python_hash(folder: &Path) -> String {
    let mut hasher = Sha256::new();
    let is_python = |path: &PathBuf| path.extension().is_some_and(|end| end == "py");
    for path in entries(folder).into_iter().filter(is_python) {
        hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update(fs::read(&path).unwrap_or_default());
    }
    hex(hasher.finalize())
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut entries: Vec<_> = entries.map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

fn make(
    engine: &Engine,
    ready: Option<&Ready>,
    target: &Path,
    tell: &dyn Fn(Step),
) -> Result<(), String> {
    let unwritable = |why: io::Error| format!("{}: {why}", folder().display());
    fs::create_dir_all(folder()).map_err(unwritable)?;
    let work =
        tempfile::Builder::new().prefix("making").tempdir_in(folder()).map_err(unwritable)?;
    tell(Step::Fetching);
    let python = python()?;
    let tools = work.path().join("tools");
    let pinned = work.path().join("pinned.txt");
    fs::write(&pinned, PINNED).map_err(unwritable)?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"])
        .args(["--disable-pip-version-check", "--require-hashes", "--target"])
        .arg(&tools)
        .arg("-r")
        .arg(&pinned);
    run(pip, "CPython for WASI could not be had from PyPI")?;
    tell(Step::Starting);
    let wasm = componentize(&python, &tools, work.path(), ready)?;
    tell(Step::Compiling);
    let bytes = fs::read(&wasm).map_err(unwritable)?;
    let compiled = engine
        .precompile_component(&bytes)
        .map_err(|why| format!("Python could not be compiled to this machine's code: {why:#}"))?;
    write_whole(target, compiled).map_err(unwritable)
}

fn componentize(
    python: &str,
    tools: &Path,
    work: &Path,
    ready: Option<&Ready>,
) -> Result<PathBuf, String> {
    let unwritable = |why: io::Error| format!("{}: {why}", work.display());
    let (guest, empty) = (work.join("guest"), work.join("empty"));
    for folder in [&guest, &empty.join("lib/python3/site-packages")] {
        fs::create_dir_all(folder).map_err(unwritable)?;
    }
    for (name, text) in [("world.wit", WORLD), ("runner.py", RUNNER)] {
        fs::write(guest.join(name), text).map_err(unwritable)?;
    }
    if let Some(Ready { packages, script, .. }) = ready {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let places: BTreeMap<_, _> =
            packages.iter().filter_map(|(from, place)| Some((name(from)?, place))).collect();
        let wanted = serde_json::json!({ "packages": places, "script": script.2 });
        fs::write(guest.join("ready.json"), wanted.to_string()).map_err(unwritable)?;
    }
    let wasm = work.join("python.wasm");
    let mut make = Command::new(python);
    make.args(["-c", "import sys, componentize_py; sys.exit(componentize_py.script())"])
        .arg("--quiet")
        .arg("-d")
        .arg(guest.join("world.wit"))
        .args(["-w", "python", "componentize", "runner", "-p"])
        .arg(&guest)
        .args(ready.iter().flat_map(|ready| ready.paths()).flat_map(|path| ["-p".into(), path]))
        .arg("-o")
        .arg(&wasm)
        .env("PYTHONPATH", tools)
        // Otherwise the packages of the Python that runs the tool become part of the
        // component.
        .env("VIRTUAL_ENV", &empty)
        .env("PYTHONHASHSEED", "0");
    run(make, "Python could not be made a component")?;
    Ok(wasm)
}

impl Ready {
    /// The folders in which Python finds everything, without duplicates.
    fn paths(&self) -> BTreeSet<PathBuf> {
        let above = self.packages.iter().filter_map(|(from, _)| from.parent());
        above.map(Path::to_path_buf).chain([self.script.0.clone()]).collect()
    }
}

/// Whether there is a component that this fixfly can use.
pub(super) fn is_here() -> bool {
    engine().is_ok_and(|engine| place(&engine).exists())
}

/// Loads the machine for sandboxes with these mounts, from the existing components.
pub(super) fn load(mounts: &[Mount]) -> Result<Machine, String> {
    let engine = engine()?;
    let place = place(&engine);
    if !place.exists() {
        return Err("the component of the sandbox `wasm` is not made yet: run `fixfly sandbox \
                    wasm build` first"
            .to_owned());
    }
    let python = read(&engine, &place)?;
    let ready = entries(&folder()).into_iter().find(|file| {
        file.extension().is_some_and(|end| end == "cwasm")
            && Note::read(file)
                .is_some_and(|note| note.place(&engine) == *file && note.fits(mounts))
    });
    let ready = ready.map(|file| read(&engine, &file)).transpose()?;
    Machine::new(&engine, &python, ready.as_ref())
}

fn read(engine: &Engine, file: &Path) -> Result<Component, String> {
    // SAFETY: the file is fixfly's own. `make` wrote it atomically to a folder of this
    // user, and its name contains the wasmtime version and settings that made it.
    let component = unsafe { Component::deserialize_file(engine, file) };
    component.map_err(|why| {
        format!("{}: {why:#}; delete it and run `fixfly sandbox wasm build`", file.display())
    })
}

/// The path of the component that this fixfly can use.
fn place(engine: &Engine) -> PathBuf {
    folder().join(format!("python-{}.cwasm", recipe(engine)))
}

/// The hash of all inputs of a component, except a project.
fn recipe(engine: &Engine) -> String {
    let mut compatible = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut compatible);
    let mut hasher = Sha256::new();
    for part in [PINNED, WORLD, RUNNER, &compatible.finish().to_string()] {
        hasher.update(part);
        hasher.update([0]);
    }
    hex(hasher.finalize())[..16].to_owned()
}

/// The interpreter that fetches and makes the component: `FIXFLY_PYTHON`, or `python3`.
fn python() -> Result<String, String> {
    let python = std::env::var("FIXFLY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let there = Command::new(&python).arg("--version").output();
    match there.is_ok_and(|output| output.status.success()) {
        true => Ok(python),
        false => Err(format!(
            "`{python}` cannot be run: install Python 3.11 or newer with pip, or point \
             FIXFLY_PYTHON at one"
        )),
    }
}

fn run(mut command: Command, failed: &str) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|why| format!("{failed}: {why}"))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines = || stderr.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let error = lines().find(|line| line.to_lowercase().starts_with("error"));
    let words = error.or(lines().next()).unwrap_or("no reason given");
    Err(format!("{failed}: {words}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bytecode_beside_a_script_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("server.py"), "import report").unwrap();
        let before = python_hash(folder.path());
        fs::create_dir(folder.path().join("__pycache__")).unwrap();
        fs::write(folder.path().join("server.pyc"), "bytecode").unwrap();
        assert_eq!(python_hash(folder.path()), before);
        fs::write(folder.path().join("server.py"), "import reports").unwrap();
        assert_ne!(python_hash(folder.path()), before);
    }
}
