//! Work trees of a single commit: no history and no later object that a git command could
//! reach.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fixfly_runtime::BenchmarkError;

use super::instance::Instance;
use crate::git::{done, git, no_git, stdout};

/// The mirrors of repositories: a folder of mirrors, or one mirror.
#[derive(Clone, Debug)]
pub struct Mirrors {
    /// The folder.
    pub folder: PathBuf,
}

impl Mirrors {
    /// The git directory of a repository.
    ///
    /// # Errors
    /// One sentence that states where it was looked for, and the command that fetches it.
    pub fn of(&self, repo: &str) -> Result<PathBuf, BenchmarkError> {
        let (owner, name) = repo.split_once('/').unwrap_or((repo, repo));
        let flat = format!("{owner}__{name}");
        let mut places: Vec<PathBuf> = [
            flat.clone(),
            format!("{flat}.git"),
            format!("{owner}/{name}"),
            format!("{owner}/{name}.git"),
            name.to_string(),
            format!("{name}.git"),
            format!("swe-bench+{flat}/repo"),
            format!("{owner}+{name}/repo"),
        ]
        .iter()
        .map(|place| self.folder.join(place))
        .collect();
        places.push(self.folder.clone());
        let places = places.into_iter().flat_map(|place| [place.join(".git"), place]);
        let found = places
            .into_iter()
            .find(|place| place.join("objects").is_dir() && place.join("HEAD").is_file());
        found.ok_or_else(|| {
            let folder = self.folder.display();
            BenchmarkError::Broken(format!(
                "{folder}: there is no mirror of {repo} (looked for {flat}, {owner}/{name}, {name}); get it with \
                 `fixfly bench fetch-repo {repo} --repos {folder}`, or name another folder by --repos"
            ))
        })
    }

    /// A file at a commit; `None` if it did not exist.
    pub fn file(
        &self,
        repo: &str,
        commit: &str,
        path: &str,
    ) -> Result<Option<String>, BenchmarkError> {
        let mirror = self.of(repo)?;
        let shown =
            git(&mirror).args(["show", &format!("{commit}:{path}")]).stdin(Stdio::null()).output();
        let shown = shown.map_err(|e| no_git(&e))?;
        Ok(shown.status.success().then(|| String::from_utf8_lossy(&shown.stdout).into_owned()))
    }

    /// Fetches a repository's mirror from GitHub.
    ///
    /// # Errors
    /// git's last line.
    pub fn fetch(&self, repo: &str) -> Result<PathBuf, BenchmarkError> {
        if let Ok(there) = self.of(repo) {
            return Ok(there);
        }
        let to = self.folder.join(repo.replace('/', "__") + ".git");
        fs::create_dir_all(&self.folder).map_err(|e| unwritable(&self.folder, &e))?;
        let url = format!("https://github.com/{repo}.git");
        let mut clone = Command::new("git");
        clone.args(["clone", "--quiet", "--mirror", "--", &url]).arg(&to);
        done(&mut clone, &format!("{repo} could not be fetched"))?;
        Ok(to)
    }
}

/// The tree of an instance's base commit below `home`, made if it does not exist.
///
/// # Errors
/// One sentence, for example about a missing mirror or commit, or a full disk.
pub fn tree(
    home: &Path,
    mirrors: &Mirrors,
    instance: &Instance,
) -> Result<PathBuf, BenchmarkError> {
    let Instance { id, repo, base_commit, .. } = instance;
    let folder = home.join("swebench/trees").join(repo.replace('/', "__"));
    let tree = folder.join(base_commit);
    if tree.is_dir() {
        return Ok(tree);
    }
    let mirror = mirrors.of(repo)?;
    fs::create_dir_all(&folder).map_err(|e| unwritable(&folder, &e))?;
    let draft = folder.join(format!("{base_commit}.{}", std::process::id()));
    let _ = fs::remove_dir_all(&draft);
    let made = make(&mirror, base_commit, &draft).and_then(|()| match fs::rename(&draft, &tree) {
        Err(_) if tree.is_dir() => Ok(()), // Another process was quicker.
        renamed => renamed.map_err(|e| unwritable(&tree, &e)),
    });
    let _ = fs::remove_dir_all(&draft);
    made.map_err(|why| BenchmarkError::Broken(format!("{id}: {why}")))?;
    Ok(tree)
}

fn make(mirror: &Path, commit: &str, to: &Path) -> Result<(), BenchmarkError> {
    fs::create_dir_all(to).map_err(|e| unwritable(to, &e))?;
    let index = to.with_extension("index");
    let out = |words: &[&str]| {
        let mut command = git(mirror);
        command.arg("--work-tree").arg(to).args(words).env("GIT_INDEX_FILE", &index);
        done(&mut command, &format!("commit {commit} is not in {}", mirror.display()))
    };
    // Not `git archive`: it leaves out what a project's attributes exclude.
    let checked_out =
        out(&["read-tree", commit]).and_then(|()| out(&["checkout-index", "--all", "--force"]));
    let _ = fs::remove_file(&index);
    checked_out?;
    commit_all(to)
}

/// Makes a folder a repository of one commit that holds all its files.
///
/// # Errors
/// git's last line.
pub(crate) fn commit_all(to: &Path) -> Result<(), BenchmarkError> {
    let own = |words: &[&str]| {
        let mut command = git(&to.join(".git"));
        command.arg("--work-tree").arg(to).args(words).current_dir(to);
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "fixfly")
                .env(format!("GIT_{who}_EMAIL"), "fixfly@localhost");
            command.env(format!("GIT_{who}_DATE"), "2000-01-01T00:00:00Z");
        }
        done(&mut command, &format!("the work tree {} could not be made", to.display()))
    };
    own(&["init", "--quiet", "--template=", "--initial-branch=main"])?;
    own(&["add", "--all", "--force"])?;
    own(&[
        "-c",
        "core.logAllRefUpdates=false",
        "commit",
        "--quiet",
        "--no-verify",
        "--message",
        "The repository as it was",
    ])?;
    // Deltas take seconds and save space that is not needed for long.
    own(&["-c", "pack.threads=1", "-c", "pack.window=0", "repack", "-adq"])?;
    own(&["config", "user.name", "fixfly"])?;
    own(&["config", "user.email", "fixfly@localhost"])
}

/// Git's hash of all files of a work tree that [`commit_all`] made; it has no dates.
pub(crate) fn tree_hash(tree: &Path) -> Result<String, BenchmarkError> {
    let mut command = git(&tree.join(".git"));
    command.args(["rev-parse", "HEAD^{tree}"]);
    let hash = stdout(&mut command, &[], "the copy has no commit")?;
    Ok(String::from_utf8_lossy(&hash).trim().to_string())
}

fn unwritable(path: &Path, error: &std::io::Error) -> BenchmarkError {
    BenchmarkError::Broken(format!("{} cannot be written: {error}", path.display()))
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
    fn a_tree_holds_one_commit_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("repos/a__b");
        fs::create_dir_all(&repo).unwrap();
        let commit = sh(
            &repo,
            "git init -q -b main .; git config user.name x; git config user.email x@x
             echo '*.txt export-ignore' > .gitattributes; echo '*.pyc' > .gitignore
             echo past > past.py; git add -A; git commit -qm past
             echo now > now.txt; git rm -q past.py; echo c > kept.pyc; git add -A -f; git commit -qm now; git rev-parse HEAD
             echo future-secret > future.py; git add -A; git commit -qm future; git tag v9",
        );
        let instance = Instance {
            id: "a__b-1".into(),
            repo: "a/b".into(),
            version: String::new(),
            base_commit: commit.trim().into(),
            environment_commit: String::new(),
            statement: String::new(),
            patch: String::new(),
            test_patch: String::new(),
            fail_to_pass: Vec::new(),
            pass_to_pass: Vec::new(),
            more: serde_json::Map::new(),
        };
        let mirrors = Mirrors { folder: folder.path().join("repos") };
        let tree = tree(folder.path(), &mirrors, &instance).unwrap();
        assert_eq!(sh(&tree, "ls -A"), ".git\n.gitattributes\n.gitignore\nkept.pyc\nnow.txt\n");
        assert_eq!(sh(&tree, "git log --all --format=%s"), "The repository as it was\n");
        assert_eq!(sh(&tree, "git status --porcelain; git tag; git branch -a"), "* main\n");
        assert_eq!(sh(&tree, "git reflog --all 2>/dev/null"), "");
        let objects = sh(
            &tree,
            "git cat-file --batch-all-objects --batch-check='%(objecttype) %(objectname)'",
        );
        // A commit, a tree, and the four files.
        assert_eq!(objects.lines().count(), 6, "{objects}");
        for object in objects.lines().filter_map(|line| line.strip_prefix("blob ")) {
            let blob = sh(&tree, &format!("git cat-file blob {object}"));
            assert!(!blob.contains("future") && !blob.contains("past"), "{blob}");
        }
        assert!(!tree.join(".git/objects/info/alternates").exists());
        let missing = Instance { base_commit: "f".repeat(40), ..instance.clone() };
        let why = super::tree(folder.path(), &mirrors, &missing).unwrap_err().to_string();
        assert!(why.starts_with("a__b-1: commit ffff"), "{why}");
        let nowhere = Instance { repo: "c/d".into(), base_commit: "e".repeat(40), ..instance };
        let why =
            super::tree(folder.path(), &Mirrors { folder: folder.path().join("none") }, &nowhere)
                .unwrap_err();
        assert!(why.to_string().contains("fixfly bench fetch-repo c/d"), "{why}");
    }
}
