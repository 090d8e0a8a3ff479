//! Copies the work tree of a git repository, as it is on the disk.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fixfly_runtime::BenchmarkError;

use crate::git::no_git;
use crate::swebench::tree::commit_all;

/// Maximum bytes of all files together. A sandbox holds its own copy in memory.
const MAX_BYTES: u64 = 1 << 30;

/// Copies the tracked files of `repository`, with changes that are not committed, and the
/// files that are neither tracked nor ignored. The copy has one commit, no history, and no
/// file outside the folder.
///
/// # Errors
/// One sentence, for example if the folder is no git repository.
pub(super) fn copy(repository: &Path, to: &Path) -> Result<(), BenchmarkError> {
    let tracked = listed(repository, "--cached")?;
    let others = listed(repository, "--others")?;
    let others = others.into_iter().filter(|path| !is_in_environment(repository, path));
    let paths: BTreeSet<PathBuf> = tracked.into_iter().chain(others).collect();
    let (mut count, mut bytes) = (0_usize, 0);
    for path in &paths {
        let cannot = |e: std::io::Error| {
            let from = repository.join(path);
            BenchmarkError::Broken(format!("{} cannot be copied: {e}", from.display()))
        };
        let Some(size) = copy_file(&repository.join(path), &to.join(path)).map_err(cannot)? else {
            continue;
        };
        count += 1;
        bytes += size;
        if bytes > MAX_BYTES {
            return Err(BenchmarkError::Broken(format!(
                "the files of {} take more than {} MiB; add what is no source code to .gitignore",
                repository.display(),
                MAX_BYTES >> 20
            )));
        }
    }
    if count == 0 {
        let why = "has no files that git does not ignore; name another folder with --repo";
        return Err(BenchmarkError::Broken(format!("{} {why}", repository.display())));
    }
    commit_all(to)
}

/// Paths that git lists. The user's own settings count, such as a global ignore file.
fn listed(repository: &Path, which: &str) -> Result<Vec<PathBuf>, BenchmarkError> {
    let mut git = Command::new("git");
    // Variables of a git command that started this program name another repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        git.env_remove(name);
    }
    git.env("LC_ALL", "C").arg("-C").arg(repository);
    // The repository's settings must not start programs.
    git.args(["-c", "core.fsmonitor=false", "-c", "safe.directory=*"]);
    git.args(["ls-files", "-z", which, "--exclude-standard"]).stdin(Stdio::null());
    let output = git.output().map_err(|e| no_git(&e))?;
    if !output.status.success() {
        let shown = repository.display();
        let why = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        return Err(BenchmarkError::Broken(match why.contains("not a git repository") {
            true => format!(
                "{shown} is not in a git repository; run `git init` there or name another folder \
                 with --repo"
            ),
            false => format!("git cannot list the files of {shown}: {why}"),
        }));
    }
    let paths = output.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    Ok(paths.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect())
}

/// Whether a path is in a Python environment that no ignore file names.
fn is_in_environment(repository: &Path, path: &Path) -> bool {
    let folders = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    folders.into_iter().any(|folder| repository.join(folder).join("pyvenv.cfg").is_file())
}

/// The size of a copied file; `None` if there is nothing to copy: a deleted file, the folder
/// of a submodule, a socket.
fn copy_file(from: &Path, to: &Path) -> std::io::Result<Option<u64>> {
    let of = match fs::symlink_metadata(from) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        of => of?,
    };
    if !of.is_symlink() && !of.is_file() {
        return Ok(None);
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    if of.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
        return Ok(Some(0));
    }
    fs::copy(from, to).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(folder: &Path, script: &str) -> String {
        let output = Command::new("sh")
            .args(["-ec", script])
            .current_dir(folder)
            .env("HOME", folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_copy_has_what_is_on_the_disk_and_no_history() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(&to).unwrap();
        sh(
            &from,
            "git init -q -b main .; git config user.name x; git config user.email x@x
             echo '*.log' > .gitignore; echo past > a.py; echo b > deleted.py; ln -s a.py link
             git add -A; git commit -qm past
             echo now > a.py; rm deleted.py; echo new > new.py; echo ignored > x.log
             mkdir -p env/lib; touch env/pyvenv.cfg env/lib/big.py",
        );
        copy(&from, &to).unwrap();
        assert_eq!(sh(&to, "ls -A"), ".git\n.gitignore\na.py\nlink\nnew.py\n");
        assert_eq!(sh(&to, "cat a.py; readlink link"), "now\na.py\n");
        assert_eq!(sh(&to, "git log --all --format=%s"), "The repository as it was\n");
        assert_eq!(sh(&to, "git status --porcelain"), "");
    }

    #[test]
    fn what_is_no_repository_is_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(&to).unwrap();
        let check = |expected: &str| {
            let why = copy(&from, &to).unwrap_err().to_string();
            assert!(why.contains(expected) && !why.contains('\n'), "{why}");
        };
        check("is not in a git repository; run `git init` there");
        sh(&from, "git init -q .");
        check("has no files that git does not ignore");
    }
}
