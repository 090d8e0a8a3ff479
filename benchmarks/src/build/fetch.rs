//! Fetches the source of a benchmark. Downloads go through pip, so that the user's mirrors,
//! proxies and certificates apply.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use fixfly_runtime::{BenchmarkError, hex, sha256};
use sha2::{Digest, Sha256};

use super::environment::{python, run};
use super::unwritable;
use crate::manifest::Source;

/// Downloads the source archive of a pinned release from PyPI, or uses `archive`; checks
/// its hash and unpacks it to `folder/source`.
///
/// # Errors
/// One sentence, for example about a missing pip, the network, a wrong hash or a full disk.
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
    Ok(sha256(&bytes))
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

/// Unpacks a source archive without its outermost folder. An existing folder is replaced
/// only by a complete one.
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
        let inside = path.components().all(|c| matches!(c, Component::Normal(_)));
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

/// Copies or unpacks any Python project to `folder/source` and returns its source. An
/// existing copy that has not changed stays.
///
/// # Errors
/// One sentence if `repository` is not a folder or a source archive, or contains no Python.
pub fn python_project(folder: &Path, repository: &Path) -> Result<Source, BenchmarkError> {
    let refused = |what: &str| BenchmarkError::Broken(format!("{} {what}", repository.display()));
    let is_file = repository.is_file();
    if !(is_file && is_archive(repository) || repository.is_dir()) {
        return Err(refused("is neither a folder nor a .tar.gz source archive"));
    }
    let path = repository.canonicalize().map_err(|e| refused(&format!("cannot be read: {e}")))?;
    fs::create_dir_all(folder).map_err(|e| unwritable(folder, &e))?;
    let own = folder.canonicalize().map_err(|e| unwritable(folder, &e))?;
    let name = path.file_name().map_or("project".into(), |name| name.to_string_lossy());
    let files = Files::of(&path, &own);
    let source = if is_file {
        let stem = name.trim_end_matches(".tar.gz");
        let (package, version) = stem.rsplit_once('-').unwrap_or((stem, ""));
        (package.to_string(), version.to_string(), hash_file(&path)?)
    } else {
        let hash = files.hash().map_err(|e| refused(&format!("cannot be read: {e}")))?;
        (name.to_string(), tag(&path), hash)
    };
    let (package, version, sha256) = source;
    let target = folder.join("source");
    let stamp = folder.join("source.sha256");
    if fs::read_to_string(&stamp).is_ok_and(|there| there == sha256) {
        return Ok(Source { package, version, sha256 });
    }
    let _ = fs::remove_file(folder.join("venv.ready"));
    match is_file {
        true => unpack(&path, &target)?,
        false => files.copy(&target).map_err(|e| unwritable(&target, &e))?,
    }
    if !Files::of(&target, &own.join("none")).paths.iter().any(|path| is_python(path)) {
        return Err(refused("is not a Python project: it holds no .py file"));
    }
    fs::write(&stamp, &sha256).map_err(|e| unwritable(&stamp, &e))?;
    Ok(Source { package, version, sha256 })
}

/// The last tag of a git work tree, as a version.
fn tag(repository: &Path) -> String {
    let git = Command::new("git").arg("-C").arg(repository).args(["describe", "--tags"]).output();
    let stdout = git.ok().filter(|git| git.status.success()).map(|git| git.stdout);
    let tag = String::from_utf8_lossy(&stdout.unwrap_or_default()).trim().to_string();
    tag.trim_start_matches('v').to_string()
}

fn is_python(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "py")
}

/// The files of a work tree, without version control, caches, environments and build
/// outputs.
struct Files {
    root: PathBuf,
    /// Relative to the root, in order.
    paths: Vec<PathBuf>,
}

impl Files {
    /// `but` is left out, because a benchmark directory may be inside the project.
    fn of(root: &Path, but: &Path) -> Self {
        let skipped = ["__pycache__", "node_modules", ".git", ".hg", ".tox", ".nox", ".eggs"];
        let mut paths = Vec::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name());
                let aside = skipped.iter().any(|skipped| name == *skipped)
                    || name.to_string_lossy().ends_with(".egg-info")
                    || name == "build" && folder == root && !path.join("__init__.py").exists()
                    || path.join("pyvenv.cfg").exists()
                    || path == but;
                if aside {
                    continue;
                }
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else if path.is_file() {
                    paths.extend(path.strip_prefix(root).map(Path::to_path_buf));
                }
            }
        }
        paths.sort();
        Files { root: root.to_path_buf(), paths }
    }

    fn hash(&self) -> std::io::Result<String> {
        let mut hasher = Sha256::new();
        for path in &self.paths {
            let bytes = fs::read(self.root.join(path))?;
            hasher.update(format!("{}\0{}\0", path.display(), bytes.len()));
            hasher.update(&bytes);
        }
        Ok(hex(hasher.finalize()))
    }

    fn copy(&self, to: &Path) -> std::io::Result<()> {
        let _ = fs::remove_dir_all(to);
        for path in &self.paths {
            let target = to.join(path);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::copy(self.root.join(path), target)?;
        }
        Ok(())
    }
}

/// Copies a project's folder, so that pip can build in it.
pub(super) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    Files::of(from, to).copy(to)
}
