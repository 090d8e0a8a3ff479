//! Gets what a benchmark rests on: source archives, checked by hash, and a
//! Python environment. Downloads go through pip, so that a user's mirrors,
//! proxies and certificates are honoured.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fixfly_runtime::BenchmarkError;
use sha2::{Digest, Sha256};

use super::unwritable;
use crate::manifest::Source;

/// What to install, and how.
pub enum Environment<'a> {
    /// A lock file's text, every requirement with its hashes.
    Locked(&'a str),
    /// What the project at this path declares for its tests, and more.
    Declared {
        /// Extras of the project that its tests need, tried in turn.
        extras: &'a [&'a str],
        /// Further requirements, as pip takes them.
        more: &'a [String],
    },
}

/// Downloads a pinned release's source archive from PyPI, or takes `archive`,
/// checks its hash and unpacks it to `folder/source`.
///
/// # Errors
/// One sentence: no pip, no network, a wrong hash, a full disk.
pub fn released(
    folder: &Path,
    source: &Source,
    archive: Option<&Path>,
) -> Result<(), BenchmarkError> {
    fs::create_dir_all(folder).map_err(|e| unwritable(folder, &e))?;
    let stamp = folder.join("source.sha256");
    if fs::read_to_string(&stamp).is_ok_and(|there| there == source.sha256) {
        return Ok(());
    }
    let archive = match archive {
        Some(archive) => archive.to_path_buf(),
        None => download(folder, source)?,
    };
    check_hash(&archive, &source.sha256)?;
    unpack(&archive, &folder.join("source"))?;
    fs::write(&stamp, &source.sha256).map_err(|e| unwritable(&stamp, &e))
}

fn download(folder: &Path, source: &Source) -> Result<PathBuf, BenchmarkError> {
    let into = folder.join("download");
    let Source { package, version, sha256 } = source;
    fs::create_dir_all(&into).map_err(|e| unwritable(&into, &e))?;
    let pinned = into.join("pinned.txt");
    fs::write(&pinned, format!("{package}=={version} --hash=sha256:{sha256}\n"))
        .map_err(|e| unwritable(&pinned, &e))?;
    let mut pip = Command::new(python()?);
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"])
        .args(["--require-hashes", "--disable-pip-version-check", "--dest"])
        .arg(&into)
        .arg("-r")
        .arg(&pinned);
    run(pip, &format!("{package} {version} could not be downloaded from PyPI"))?;
    let found = fs::read_dir(&into).map_err(|e| unwritable(&into, &e))?.flatten();
    let mut archives = found.map(|entry| entry.path()).filter(|path| is_archive(path));
    archives.next().ok_or_else(|| {
        BenchmarkError::Broken(format!("pip left no archive of {package} in {}", into.display()))
    })
}

fn is_archive(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".tar.gz")
}

/// SHA-256 of a file, hexadecimal.
fn hash_file(path: &Path) -> Result<String, BenchmarkError> {
    let unreadable = |e: std::io::Error| {
        BenchmarkError::Broken(format!("{} cannot be read: {e}", path.display()))
    };
    let bytes = fs::read(path).map_err(unreadable)?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn check_hash(archive: &Path, wanted: &str) -> Result<(), BenchmarkError> {
    let found = hash_file(archive)?;
    if found == wanted {
        return Ok(());
    }
    Err(BenchmarkError::Broken(format!(
        "{} has the SHA-256 {found}, not {wanted}; delete it and build again, or pass the right archive",
        archive.display()
    )))
}

/// Unpacks a source archive without its outermost folder. A folder that was
/// there before is replaced only by a whole one.
fn unpack(archive: &Path, target: &Path) -> Result<(), BenchmarkError> {
    let broken = |e: std::io::Error| {
        BenchmarkError::Broken(format!("{} cannot be unpacked: {e}", archive.display()))
    };
    let fresh = target.with_extension("fresh");
    let _ = fs::remove_dir_all(&fresh);
    let file = fs::File::open(archive).map_err(broken)?;
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(file));
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path: PathBuf = entry.path().map_err(broken)?.components().skip(1).collect();
        let inside = path.components().all(|c| matches!(c, std::path::Component::Normal(_)));
        if path.as_os_str().is_empty() || !inside {
            continue;
        }
        let into = fresh.join(path);
        if let Some(parent) = into.parent() {
            fs::create_dir_all(parent).map_err(broken)?;
        }
        entry.unpack(&into).map_err(broken)?;
    }
    let _ = fs::remove_dir_all(target);
    fs::rename(&fresh, target).map_err(broken)
}

/// Copies or unpacks any Python project to `folder/source`; says what it is.
///
/// # Errors
/// One sentence where `repository` is not a folder or source archive.
pub fn python_project(folder: &Path, repository: &Path) -> Result<Source, BenchmarkError> {
    fs::create_dir_all(folder).map_err(|e| unwritable(folder, &e))?;
    let target = folder.join("source");
    let name = repository.file_name().map_or("project".into(), |name| name.to_string_lossy());
    if repository.is_file() && is_archive(repository) {
        unpack(repository, &target)?;
        let stem = name.trim_end_matches(".tar.gz").to_string();
        let (package, version) = stem.rsplit_once('-').unwrap_or((&stem, ""));
        return Ok(Source {
            package: package.to_string(),
            version: version.to_string(),
            sha256: hash_file(repository)?,
        });
    }
    if !repository.is_dir() {
        let what = "is neither a folder nor a .tar.gz source archive";
        return Err(BenchmarkError::Broken(format!("{} {what}", repository.display())));
    }
    let _ = fs::remove_dir_all(&target);
    let mut hasher = Sha256::new();
    copy(repository, &target, &mut hasher).map_err(|e| unwritable(&target, &e))?;
    let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Source { package: name.to_string(), version: String::new(), sha256 })
}

/// Copies a work tree without version control and caches; hashes its Python files.
fn copy(from: &Path, to: &Path, hasher: &mut Sha256) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    let mut entries: Vec<_> = fs::read_dir(from)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let skip = [".git", ".hg", "__pycache__", ".tox", ".venv", "venv", "node_modules"];
        if skip.iter().any(|skip| name == *skip) {
            continue;
        }
        let target = to.join(&name);
        if path.is_dir() && !path.is_symlink() {
            copy(&path, &target, hasher)?;
        } else if path.is_file() {
            fs::copy(&path, &target)?;
            if path.extension().is_some_and(|end| end == "py") {
                let mut bytes = Vec::new();
                fs::File::open(&path)?.read_to_end(&mut bytes)?;
                hasher.update(&bytes);
            }
        }
    }
    Ok(())
}

/// Makes `folder/venv` with what the project's tests need, never with the
/// project itself, and compiles all of it: missing bytecode triples the time
/// of a candidate.
///
/// # Errors
/// One sentence with pip's own last words.
pub fn environment(folder: &Path, wanted: &Environment<'_>) -> Result<(), BenchmarkError> {
    let python = python()?;
    let venv = folder.join("venv");
    let stamp = folder.join("venv.ready");
    if !stamp.exists() {
        let _ = fs::remove_dir_all(&venv);
        let mut make = Command::new(&python);
        make.args(["-m", "venv"]).arg(&venv);
        run(
            make,
            "the Python environment could not be made (on Debian: apt install python3-venv)",
        )?;
        install(folder, &venv, wanted)?;
        fs::write(&stamp, "").map_err(|e| unwritable(&stamp, &e))?;
    }
    let version =
        output(&venv.join("bin/python"), "import platform; print(platform.python_version())")?;
    let file = folder.join("python");
    fs::write(&file, version).map_err(|e| unwritable(&file, &e))?;
    // Files that hold wrong syntax on purpose do not compile; that is no fault.
    let compile = Command::new(venv.join("bin/python"))
        .args(["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"])
        .args([folder.join("source"), venv.join("lib")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    compile
        .map(|_| ())
        .map_err(|e| BenchmarkError::Broken(format!("bytecode could not be made: {e}")))
}

fn install(folder: &Path, venv: &Path, wanted: &Environment<'_>) -> Result<(), BenchmarkError> {
    let pip = || {
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
        pip
    };
    let failed = "the requirements could not be installed";
    match wanted {
        Environment::Locked(text) => {
            let lock = folder.join("requirements.txt");
            fs::write(&lock, text).map_err(|e| unwritable(&lock, &e))?;
            let mut install = pip();
            install.args(["install", "--require-hashes", "-r"]).arg(lock);
            run(install, failed)
        }
        Environment::Declared { extras, more } => {
            let mut install = pip();
            install.args(["install", "pytest"]).args(*more);
            run(install, failed)?;
            let before = output(&venv.join("bin/python"), LIST)?;
            let project = folder.join("source").display().to_string();
            let mut targets: Vec<String> =
                extras.iter().map(|extra| format!("{project}[{extra}]")).collect();
            targets.push(project);
            for target in targets {
                let mut install = pip();
                install.args(["install", &target]);
                run(install, failed)?;
            }
            remove_project(folder, venv, &before)
        }
    }
}

const LIST: &str = "import importlib.metadata as m, json; print(json.dumps({d.metadata['Name']: \
    (d.read_text('direct_url.json') or '') for d in m.distributions()}))";

/// Only the source tree may be imported, never an installed copy.
fn remove_project(folder: &Path, venv: &Path, before: &str) -> Result<(), BenchmarkError> {
    let after = output(&venv.join("bin/python"), LIST)?;
    let parse = |text: &str| {
        serde_json::from_str::<std::collections::BTreeMap<String, String>>(text).unwrap_or_default()
    };
    let before = parse(before);
    let source = folder.join("source").display().to_string();
    for (name, origin) in parse(&after) {
        if !before.contains_key(&name) && origin.contains(&source) {
            let mut remove = Command::new(venv.join("bin/python"));
            remove.args(["-m", "pip", "--quiet", "uninstall", "--yes", &name]);
            run(remove, "the installed copy of the project could not be removed")?;
        }
    }
    Ok(())
}

/// The interpreter that makes environments: `FIXFLY_PYTHON`, or `python3`.
fn python() -> Result<String, BenchmarkError> {
    let python = std::env::var("FIXFLY_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let mend = "install Python 3.11 or newer, or point FIXFLY_PYTHON at one";
    let code = "import sys; print('%d %d' % sys.version_info[:2])";
    let version = output(Path::new(&python), code)
        .map_err(|_| BenchmarkError::Broken(format!("`{python}` cannot be run: {mend}")))?;
    let numbers: Vec<u32> = version.split_whitespace().flat_map(str::parse).collect();
    match numbers.as_slice() {
        [major, minor] if (*major, *minor) >= (3, 11) => Ok(python),
        _ => {
            let version = version.trim().replace(' ', ".");
            Err(BenchmarkError::Broken(format!("`{python}` is Python {version}: {mend}")))
        }
    }
}

fn output(python: &Path, code: &str) -> Result<String, BenchmarkError> {
    let output = Command::new(python).args(["-c", code]).output();
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
        }
        Ok(output) => Err(BenchmarkError::Broken(last_words(&output.stderr))),
        Err(e) => Err(BenchmarkError::Broken(format!("{} cannot be run: {e}", python.display()))),
    }
}

fn run(mut command: Command, failed: &str) -> Result<(), BenchmarkError> {
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(BenchmarkError::Broken(format!("{failed}: {}", last_words(&output.stderr))))
        }
        Err(e) => Err(BenchmarkError::Broken(format!("{failed}: {e}"))),
    }
}

/// The last line that says something, without pip's prefix.
fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let errors = text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let error = errors.clone().find(|line| line.to_lowercase().starts_with("error"));
    error
        .or(errors.clone().next())
        .unwrap_or("no reason given")
        .trim_start_matches("ERROR: ")
        .to_string()
}
