//! The base commit on this machine: its files, and its ignore rules.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixfly_runtime::BenchmarkError;
use tempfile::TempDir;

use super::{Mode, TreePath};
use crate::git::{git, stdout, stdout_if};

/// The tree of a base commit, and a git directory that can be written to and has its objects.
pub(super) struct Base {
    tree: PathBuf,
    /// Contains `git`, the git directory, and `rules`, a work tree that contains only the
    /// ignore rules and attributes of the base commit.
    folder: TempDir,
    pub(super) commit: String,
    files: HashMap<TreePath, BaseFile>,
}

/// A file of the base commit.
pub(super) struct BaseFile {
    pub(super) mode: Mode,
    /// The hash of its blob.
    pub(super) blob: String,
    /// Hash and size of the file itself, which differ from the blob's if attributes convert it.
    hash: String,
    size: u64,
}

const FAILED: &str = "the base commit cannot be read";

impl Base {
    pub(super) fn open(tree: &Path) -> Result<Base, BenchmarkError> {
        let cannot = |e: std::io::Error| {
            BenchmarkError::Broken(format!(
                "no git directory can be made in the temporary folder: {e}"
            ))
        };
        let tree = tree.canonicalize().map_err(|e| {
            BenchmarkError::Broken(format!("{} cannot be read: {e}", tree.display()))
        })?;
        let folder = tempfile::tempdir().map_err(cannot)?;
        make(folder.path(), &tree).map_err(cannot)?;
        let mut base = Base { tree, folder, commit: String::new(), files: HashMap::new() };
        let mut head = git(&base.tree.join(".git"));
        let head = stdout(head.args(["rev-parse", "--verify", "HEAD^{commit}"]), &[], FAILED)?;
        base.commit = String::from_utf8_lossy(&head).trim().to_string();
        let mut list = base.git();
        list.args(["ls-tree", "-r", "-z", "-l", "--full-tree", &base.commit]);
        for row in stdout(&mut list, &[], FAILED)?.split(|byte| *byte == 0) {
            base.files.extend(file(row));
        }
        base.measure()?;
        base.write_rules().map_err(cannot)?;
        Ok(base)
    }

    /// A git command on the git directory of this call.
    pub(super) fn git(&self) -> Command {
        let rules = self.folder.path().join("rules");
        let mut git = git(&self.git_dir());
        git.arg("--work-tree").arg(&rules).current_dir(&rules);
        git
    }

    pub(super) fn git_dir(&self) -> PathBuf {
        self.folder.path().join("git")
    }

    pub(super) fn get(&self, path: &[u8]) -> Option<&BaseFile> {
        self.files.get(path)
    }

    pub(super) fn contains(&self, path: &[u8]) -> bool {
        self.files.contains_key(path)
    }

    /// The size of a file.
    pub(super) fn size(&self, path: &[u8]) -> Option<u64> {
        self.get(path).map(|file| file.size)
    }

    /// The names and sizes of all files, without their folders.
    pub(super) fn names_and_sizes(&self) -> HashSet<(&[u8], u64)> {
        self.files.iter().map(|(path, file)| (name(path), file.size)).collect()
    }

    /// The bytes of a file as an agent finds them, or the target of a link.
    pub(super) fn content(&self, path: &[u8]) -> Result<Vec<u8>, BenchmarkError> {
        let place = self.place(path);
        let content = match self.get(path).map(|file| file.mode) {
            Some(Mode::Link) => {
                fs::read_link(&place).map(|target| target.as_os_str().as_bytes().to_vec())
            }
            _ => fs::read(&place),
        };
        content.map_err(|e| BenchmarkError::Broken(format!("{}: {e}", place.display())))
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        self.tree.join(OsStr::from_bytes(path))
    }

    /// The list of files, as the program in the sandbox reads it.
    pub(super) fn rows(&self) -> Vec<u8> {
        let mut rows = Vec::new();
        for (path, BaseFile { mode, hash, size, .. }) in &self.files {
            rows.extend(format!("{} blob {hash} {size}\t", mode.name()).into_bytes());
            rows.extend(path);
            rows.push(0);
        }
        rows
    }

    /// Sets the hash and size of the files that attributes convert.
    fn measure(&mut self) -> Result<(), BenchmarkError> {
        let mut converted = Vec::new();
        for (path, file) in &self.files {
            let of = fs::symlink_metadata(self.place(path));
            if let Some(of) = of.ok().filter(|of| of.is_file() && of.len() != file.size) {
                converted.push((path.clone(), of.len()));
            }
        }
        let paths: Vec<&[u8]> = converted.iter().map(|(path, _)| path.as_slice()).collect();
        let hashes = self.hashes(&paths)?;
        for ((path, size), hash) in converted.into_iter().zip(hashes) {
            if let Some(file) = self.files.get_mut(&path) {
                (file.size, file.hash) = (size, hash);
            }
        }
        Ok(())
    }

    /// Hashes of files as an agent finds them.
    pub(super) fn hashes(&self, paths: &[&[u8]]) -> Result<Vec<String>, BenchmarkError> {
        let mut hashes = Vec::new();
        for some in paths.chunks(200) {
            let mut command = git(&self.git_dir());
            command.args(["hash-object", "--no-filters", "--"]).current_dir(&self.tree);
            command.args(some.iter().map(|path| OsStr::from_bytes(path)));
            let printed = stdout(&mut command, &[], FAILED)?;
            hashes.extend(String::from_utf8_lossy(&printed).lines().map(str::to_string));
        }
        Ok(hashes)
    }

    /// Those of these paths that the base commit's rules ignore.
    pub(super) fn ignored(
        &self,
        paths: impl Iterator<Item = TreePath>,
    ) -> Result<HashSet<TreePath>, BenchmarkError> {
        let mut asked = Vec::new();
        for path in paths {
            // Otherwise git reads `:(top)` and the like at the start of a path.
            asked.extend(b"./");
            asked.extend(path);
            asked.push(0);
        }
        if asked.is_empty() {
            return Ok(HashSet::new());
        }
        let mut check = self.git();
        check.args(["check-ignore", "--no-index", "-z", "--stdin"]);
        let failed = "the base commit's ignore rules cannot be read";
        let ignored = stdout_if(&mut check, &asked, failed, &[0, 1])?;
        let ignored = ignored.split(|byte| *byte == 0).filter_map(|path| path.strip_prefix(b"./"));
        Ok(ignored.map(<[u8]>::to_vec).collect())
    }

    fn write_rules(&self) -> std::io::Result<()> {
        let is_rule = |path: &[u8]| [&b".gitignore"[..], b".gitattributes"].contains(&name(path));
        let rules = self.files.iter().filter(|(path, file)| {
            // git does not follow such a link either.
            is_rule(path) && file.mode != Mode::Link
        });
        for (path, _) in rules {
            let to = self.folder.path().join("rules").join(OsStr::from_bytes(path));
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::copy(self.place(path), to)?;
        }
        Ok(())
    }
}

/// The last component of a path.
pub(super) fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Makes a git directory without `git init`, which copies templates and looks around.
fn make(folder: &Path, tree: &Path) -> std::io::Result<()> {
    let git = folder.join("git");
    for part in ["objects/info", "refs/heads", "info"] {
        fs::create_dir_all(git.join(part))?;
    }
    fs::create_dir(folder.join("rules"))?;
    fs::write(git.join("HEAD"), "ref: refs/heads/none\n")?;
    let objects = tree.join(".git/objects");
    fs::write(git.join("objects/info/alternates"), [objects.as_os_str().as_bytes(), b"\n"].concat())
}

/// One row of `git ls-tree -l`: `100644 blob HASH  SIZE<TAB>PATH`.
fn file(row: &[u8]) -> Option<(TreePath, BaseFile)> {
    let tab = row.iter().position(|byte| *byte == b'\t')?;
    let facts = std::str::from_utf8(&row[..tab]).ok()?;
    let mut facts = facts.split_whitespace();
    let mode = Mode::parse(facts.next()?.as_bytes())?;
    let hash = facts.nth(1)?.to_string();
    let size = facts.next()?.parse().ok()?;
    Some((row[tab + 1..].to_vec(), BaseFile { mode, blob: hash.clone(), hash, size }))
}
