//! Which methods changed since a commit, by the texts that git has of it. Nothing of the
//! repository runs: no hook, no filter, no diff program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fixfly_runtime::BenchmarkError;

use super::{tree, unwritable};
use crate::git::{git_alone, stdout};
use crate::manifest::{Item, Manifest};
use crate::places::Place;
use crate::source;

/// A commit, and what differs from it.
#[derive(Default)]
pub struct Since {
    /// The commit as the user wrote it.
    pub(super) commit: String,
    /// Files whose text is another one, or which are new.
    changed: BTreeSet<String>,
    /// The methods of changed files as they were, by id.
    before: BTreeMap<String, Vec<String>>,
    /// The earlier manifest, kept until the build is complete.
    kept: PathBuf,
}

impl Since {
    /// Compares the project's copy in `folder/source` with a commit of `repository`. Returns
    /// the items of the earlier manifest, too.
    ///
    /// # Errors
    /// One sentence if `repository` is no git work tree, or has no such commit.
    pub fn read(
        repository: &Path,
        commit: &str,
        folder: &Path,
    ) -> Result<(Self, Vec<Item>), BenchmarkError> {
        let (id, old) = texts_at(repository, commit)?;
        let new: BTreeMap<_, _> =
            tree::texts(&folder.join("source"), &["py"]).into_iter().collect();
        let kept = folder.join(format!("manifest.before-{}.jsonl", &id[..id.len().min(12)]));
        let manifest = folder.join("manifest.jsonl");
        if !kept.exists() && manifest.exists() {
            fs::copy(&manifest, &kept).map_err(|e| unwritable(&kept, &e))?;
        }
        let known = match kept.exists() {
            true => single(Manifest::read(&kept)?, &manifest)?,
            false => Vec::new(),
        };
        Ok((Since { kept, ..Self::between(commit, &old, &new) }, known))
    }

    fn between(
        commit: &str,
        old: &BTreeMap<String, String>,
        new: &BTreeMap<String, String>,
    ) -> Self {
        let mut since = Since { commit: commit.to_string(), ..Since::default() };
        for (file, text) in new {
            let before = old.get(file);
            if before.is_some_and(|before| unix(before) == unix(text)) {
                continue;
            }
            since.changed.insert(file.clone());
            let methods = before.and_then(|before| Some((before, source::methods(before).ok()?)));
            for (before, method) in
                methods.into_iter().flat_map(|(text, all)| all.into_iter().map(move |m| (text, m)))
            {
                let id = format!("{file}::{}", method.qualname);
                let text = unix(&before[method.full_span]);
                since.before.entry(id).or_default().push(text);
            }
        }
        since
    }

    /// Whether a method's text changed, or a test file that enters it, or a `conftest.py`
    /// that such a file reads.
    pub(super) fn is_changed(&self, place: &Place, test_files: &BTreeSet<&str>) -> bool {
        let rewritten = || {
            let text = unix(&place.text[place.method.full_span.clone()]);
            let before = self.before.get(&place.id());
            !before.is_some_and(|before| before.contains(&text))
        };
        let fixtures = |test: &str| {
            let mut folders = Path::new(test).ancestors().skip(1);
            folders
                .any(|folder| self.changed.contains(&*folder.join("conftest.py").to_string_lossy()))
        };
        self.changed.contains(&place.file) && rewritten()
            || test_files.iter().any(|test| self.changed.contains(*test) || fixtures(test))
    }

    /// Forgets the earlier manifest, when there is a new one.
    pub(super) fn end(&self) -> Result<(), BenchmarkError> {
        match self.kept.exists() {
            true => fs::remove_file(&self.kept).map_err(|e| unwritable(&self.kept, &e)),
            false => Ok(()),
        }
    }
}

/// The items of an earlier manifest that are one method each.
fn single(earlier: Manifest, file: &Path) -> Result<Vec<Item>, BenchmarkError> {
    match earlier.header.span {
        None => Ok(earlier.items),
        Some(span) => Err(BenchmarkError::Broken(format!(
            "{} has items of {span} functions and methods each (--span {span}), and --since keeps \
             items of one: name another folder with -o",
            file.display()
        ))),
    }
}

fn unix(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// A commit's id, and the text of each Python file that it has in this folder.
fn texts_at(
    repository: &Path,
    commit: &str,
) -> Result<(String, BTreeMap<String, String>), BenchmarkError> {
    let shown = repository.display();
    let git = || {
        let mut git = git_alone();
        // A blob that is missing must not be fetched, which may start any program.
        git.env("GIT_NO_LAZY_FETCH", "1").arg("-C").arg(repository);
        git
    };
    let no_tree = |_| {
        let why = format!("{shown} is no git work tree, which --since needs; build without it");
        BenchmarkError::Broken(why)
    };
    if !repository.is_dir() {
        return Err(no_tree(()));
    }
    let inside = stdout(git().args(["rev-parse", "--is-inside-work-tree"]), &[], "");
    if inside.map_err(|_| no_tree(()))?.trim_ascii() != b"true" {
        return Err(no_tree(()));
    }
    let wanted = format!("{commit}^{{commit}}");
    let named = ["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted];
    let id = stdout(git().args(named), &[], "").map_err(|_| {
        let remedy = format!("`git -C {shown} log --oneline` lists them");
        BenchmarkError::Broken(format!("--since `{commit}` is no commit of {shown}; {remedy}"))
    })?;
    let id = String::from_utf8_lossy(&id).trim().to_string();
    let listed = stdout(git().args(["ls-tree", "-r", "-z", &id]), &[], "git cannot list files")?;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let rows = listed.split('\0').filter_map(|row| row.split_once('\t'));
    let files: Vec<(&str, &str)> = rows
        .filter(|(facts, path)| facts.starts_with("100") && path.ends_with(".py"))
        .filter_map(|(facts, path)| Some((facts.split(' ').nth(2)?, path)))
        .collect();
    let asked: String = files.iter().map(|(blob, _)| format!("{blob}\n")).collect();
    let failed = "git cannot read files";
    let blobs = stdout(git().args(["cat-file", "--batch"]), asked.as_bytes(), failed)?;
    let texts = files.into_iter().map(|(_, path)| path.to_string()).zip(contents(&blobs));
    let readable = texts.filter_map(|(path, bytes)| Some((path, String::from_utf8(bytes).ok()?)));
    Ok((id, readable.collect()))
}

/// The contents of each object that `git cat-file --batch` printed; nothing for one that it
/// does not have.
fn contents(mut output: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some(end) = output.iter().position(|byte| *byte == b'\n') {
        let header = String::from_utf8_lossy(&output[..end]).into_owned();
        let size = header.rsplit(' ').next().and_then(|size| size.parse::<usize>().ok());
        output = &output[end + 1..];
        let size = size.unwrap_or_default().min(output.len());
        found.push(output[..size].to_vec());
        // `<id> missing` has no contents, and so no line break after them.
        let line_break = usize::from(!header.ends_with(" missing"));
        output = &output[(size + line_break).min(output.len())..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str =
        "class A:\n    def f(self):\n        return 1\n\n    def g(self):\n        return 2\n";

    /// Which methods of `a.py`, tested by `tests/test_a.py`, changed.
    #[track_caller]
    fn check(old: &[(&str, &str)], new: &[(&str, &str)], expected: &[&str]) {
        let map = |all: &[(&str, &str)]| -> BTreeMap<String, String> {
            all.iter().map(|(file, text)| (file.to_string(), text.to_string())).collect()
        };
        let since = Since::between("HEAD", &map(old), &map(new));
        let text = map(new)["a.py"].clone();
        let tests = BTreeSet::from(["tests/test_a.py"]);
        let places = source::methods(&text).unwrap().into_iter().map(|method| Place {
            file: "a.py".into(),
            text: text.as_str().into(),
            method,
        });
        let changed = places.filter(|place| since.is_changed(place, &tests));
        let found: Vec<String> = changed.map(|place| place.method.qualname).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_method_changes_with_its_text_or_its_tests() {
        let test = ("tests/test_a.py", "1");
        check(&[("a.py", A), test], &[("a.py", A), test], &[]);
        let other = A.replace("return 2", "return 3");
        check(&[("a.py", A), test], &[("a.py", &other), test], &["A.g"]);
        let moved = format!("import b\n\n{}", A.replace('\n', "\r\n"));
        check(&[("a.py", A), test], &[("a.py", &moved), test], &[]);
        let both = ["A.f", "A.g"];
        check(&[test], &[("a.py", A), test], &both);
        check(&[("a.py", A), test], &[("a.py", A), ("tests/test_a.py", "2")], &both);
        check(&[("a.py", A), test], &[("a.py", A), test, ("conftest.py", "")], &both);
        check(&[("a.py", A), test], &[("a.py", A), test, ("b/conftest.py", "")], &[]);
    }

    #[test]
    fn objects_of_a_batch_are_told_apart() {
        let output = b"a1 blob 3\nx\ny\nb2 missing\nc3 blob 0\n\nd4 blob 1\nz\n";
        let expected: [&[u8]; 4] = [b"x\ny", b"", b"", b"z"];
        assert_eq!(contents(output), expected);
    }
}
