//! The interpreter that runs a repository's tests, and the mounts that it needs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fixfly_runtime::{BenchmarkError, Mount, MountMode};

use crate::project::base_mount;
use crate::server::ENVIRONMENT;

/// Folders whose contents a sandbox has itself.
const OWN: [&str; 12] =
    ["bin", "dev", "etc", "fixfly", "lib", "nix", "proc", "repo", "sbin", "sys", "tmp", "usr"];

/// An interpreter, as a sandbox sees it.
pub(super) struct Python {
    /// Its path on this machine, as the user knows it.
    pub(super) host: PathBuf,
    /// Its path in the sandbox.
    pub(super) program: String,
    pub(super) mounts: Vec<Mount>,
}

impl Python {
    /// The interpreter that is named; otherwise that of the repository's `.venv`, of
    /// `$VIRTUAL_ENV`, or `python3`.
    ///
    /// # Errors
    /// One sentence if it cannot be run, or is too old for the test server.
    pub(super) fn find(repository: &Path, named: Option<&Path>) -> Result<Python, BenchmarkError> {
        let own = repository.join(".venv/bin/python");
        let active = std::env::var_os("VIRTUAL_ENV")
            .map(|folder| Path::new(&folder).join("bin/python"))
            .filter(|python| python.is_file());
        let host = match named {
            Some(python) => python.to_path_buf(),
            None if own.is_file() => own,
            None => active.unwrap_or_else(|| "python3".into()),
        };
        let executable = executable(&host)?;
        let (program, mounts) = placed(&executable);
        Ok(Python { host, program, mounts })
    }

    /// The folder of its programs in the sandbox.
    pub(super) fn folder(&self) -> &str {
        self.program.rsplit_once('/').map_or("/usr/bin", |(folder, _)| folder)
    }
}

/// The path of the interpreter itself: `python3` may be a script that chooses one.
fn executable(python: &Path) -> Result<PathBuf, BenchmarkError> {
    let shown = python.display();
    let other = "name another interpreter with --python";
    let code = "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable)";
    let output =
        Command::new(python).args(["-I", "-S", "-c", code]).stdin(Stdio::null()).output().map_err(
            |e| BenchmarkError::Broken(format!("`{shown}` cannot be run: {e}; {other}")),
        )?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = printed.lines();
    let version = lines.next().unwrap_or_default();
    let numbers: Vec<u32> = version.split('.').flat_map(str::parse).collect();
    match (numbers.as_slice(), lines.next()) {
        ([major, minor], Some(path)) if (*major, *minor) >= (3, 11) => Ok(path.into()),
        ([_, _], _) => Err(BenchmarkError::Broken(format!(
            "`{shown}` is Python {version}, and the test server needs 3.11 or newer; {other}"
        ))),
        _ => {
            let why = String::from_utf8_lossy(&output.stderr);
            let why = why.lines().last().unwrap_or("it printed no version");
            Err(BenchmarkError::Broken(format!("`{shown}` cannot be used: {why}; {other}")))
        }
    }
}

/// Where a sandbox has an interpreter, and the mounts for it.
fn placed(executable: &Path) -> (String, Vec<Mount>) {
    let read_only =
        |from: &Path, to: String| Mount { from: from.into(), to, mode: MountMode::ReadOnly };
    let venv = executable
        .parent()
        .and_then(Path::parent)
        .filter(|folder| folder.join("pyvenv.cfg").is_file());
    let mut mounts = Vec::new();
    let mut program = executable.to_path_buf();
    if let (Some(venv), Some(name)) = (venv, executable.file_name()) {
        mounts.push(read_only(venv, ENVIRONMENT.to_string()));
        // Its scripts name the interpreter by its own path.
        if let Some(path) = venv.to_str().filter(|path| is_free(path)) {
            mounts.push(read_only(venv, path.to_string()));
        }
        program = Path::new(ENVIRONMENT).join("bin").join(name);
    }
    for base in bases(executable, venv) {
        mounts.extend(base_mount(&base).filter(|mount| is_free(&mount.to) || is_local(&mount.to)));
    }
    mounts.sort_by(|one, other| one.to.cmp(&other.to));
    mounts.dedup_by(|one, other| one.to == other.to);
    (program.to_string_lossy().into_owned(), mounts)
}

/// The interpreters that the links of an executable lead to, one after the other.
fn bases(executable: &Path, venv: Option<&Path>) -> Vec<PathBuf> {
    let mut bases: Vec<PathBuf> = executable.canonicalize().into_iter().collect();
    let mut at = executable.to_path_buf();
    for _ in 0..10 {
        if venv.is_none_or(|venv| !at.starts_with(venv)) {
            bases.push(at.clone());
        }
        let (Ok(target), Some(folder)) = (at.read_link(), at.parent()) else { break };
        at = folder.join(target);
    }
    bases
}

/// Whether a folder of this machine can be mounted at its own path.
fn is_free(path: &str) -> bool {
    let mut parts = path.split('/');
    let is_absolute = parts.next() == Some("");
    let first = parts.next().unwrap_or_default();
    is_absolute && !first.is_empty() && !OWN.contains(&first) && !first.starts_with("lib")
}

fn is_local(path: &str) -> bool {
    path.starts_with("/usr/local")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_mounted_at_their_own_path_if_the_sandbox_has_none() {
        for (path, expected) in [
            ("/home/you/shop/.venv", true),
            ("/opt/python", true),
            ("/tmp/venv", false),
            ("/usr", false),
            ("/lib64/x", false),
            ("relative/venv", false),
            ("/", false),
        ] {
            assert_eq!(is_free(path), expected, "{path}");
        }
    }

    #[test]
    fn an_environment_is_mounted_with_its_interpreter() {
        let folder = tempfile::tempdir().unwrap();
        let (venv, base) = (folder.path().join("venv"), folder.path().join("base-3.11.7"));
        for path in [&venv, &base] {
            std::fs::create_dir_all(path.join("bin")).unwrap();
        }
        std::fs::write(venv.join("pyvenv.cfg"), "").unwrap();
        std::fs::write(base.join("bin/python3.11"), "").unwrap();
        let short = folder.path().join("base-3.11");
        std::os::unix::fs::symlink(&base, &short).unwrap();
        std::os::unix::fs::symlink(short.join("bin/python3.11"), venv.join("bin/python")).unwrap();
        let (program, mounts) = placed(&venv.join("bin/python"));
        assert_eq!(program, "/env/bin/python");
        assert_eq!(mounts[0].to, "/env");
        let named = bases(&venv.join("bin/python"), Some(&venv));
        assert!(named.contains(&short.join("bin/python3.11")), "{named:?}");
    }

    #[test]
    fn an_interpreter_that_cannot_be_used_is_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join("python");
        std::fs::write(&old, "#!/bin/sh\necho 3.8; echo /usr/bin/python3.8\n").unwrap();
        let mut permissions = std::fs::metadata(&old).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        std::fs::set_permissions(&old, permissions).unwrap();
        let check = |python: &Path, expected: &str| {
            let why = Python::find(folder.path(), Some(python)).err().unwrap().to_string();
            assert!(why.contains(expected) && !why.contains('\n'), "{why}");
        };
        check(&old, "is Python 3.8, and the test server needs 3.11 or newer; name another");
        check(Path::new("/nonexistent/python"), "`/nonexistent/python` cannot be run");
        check(Path::new("/bin/false"), "`/bin/false` cannot be used: it printed no version");
    }
}
