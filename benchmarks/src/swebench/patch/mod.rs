//! Reads patches file by file, as the programs that apply them do, and keeps the part that is
//! a fix.
//!
//! A patch is bytes: names and contents need not be UTF-8. Because `git apply` and patch(1)
//! may read different names in the same headers, a part has all names that either may read;
//! a part is left out if any of them is a test's.

mod binary;
mod hunk;
mod links;
mod name;
mod reader;
mod script;
#[cfg(test)]
mod tests;

use std::fmt;

pub use name::{quoted, shown};

/// The part of a patch that concerns one file, with the text before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePatch<'a> {
    /// Its text, including the final newline.
    pub text: &'a [u8],
    /// Whether it names no file: text after the last file, for example.
    pub is_prose: bool,
    /// Path before, as git reads it; `None` if the file is new, or if git reads no name.
    pub old: Option<Vec<u8>>,
    /// Path after, as git reads it; `None` if the file is deleted, or if git reads no name.
    pub new: Option<Vec<u8>>,
    /// What it changes.
    pub content: Content,
    /// Every path that a program may apply it to, sorted.
    pub names: Vec<Vec<u8>>,
    /// The lines that its hunks remove and add, with their signs and without their ends.
    pub changes: Vec<&'a [u8]>,
    /// Whether its headers state that the file is new.
    pub is_new: bool,
    /// Whether its headers state that the file is deleted.
    pub is_deleted: bool,
    /// Whether it makes or changes a symbolic link.
    pub is_link: bool,
    /// Why it cannot be read as one change of one file, if that is so.
    pub unreadable: Option<&'static str>,
}

/// What a part of a patch changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Lines.
    Text,
    /// Text that is no UTF-8, in git's format for binary data.
    Encoded,
    /// Other data.
    Binary,
}

impl FilePatch<'_> {
    /// The file's path.
    pub fn path(&self) -> &[u8] {
        let path = self.new.as_ref().or(self.old.as_ref()).or(self.names.first());
        path.map_or(b"", |path| path)
    }

    /// The paths before and after, without `None` and repetition.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        let new = self.new.as_ref().filter(|new| self.old.as_ref() != Some(new));
        self.old.iter().chain(new).map(Vec::as_slice)
    }

    /// Whether a path of it leads through the symbolic link that `link` is about.
    fn is_behind(&self, link: &FilePatch<'_>) -> bool {
        self.names.iter().any(|name| link.is_before(name))
    }

    /// Whether a path leads through its file.
    fn is_before(&self, path: &[u8]) -> bool {
        let mut rests = self.names.iter().filter_map(|name| path.strip_prefix(name.as_slice()));
        rests.any(|rest| rest.starts_with(b"/"))
    }

    /// Whether no hunk of it adds a line.
    fn removes_only(&self) -> bool {
        self.content != Content::Text || self.changes.iter().all(|line| line.starts_with(b"-"))
    }

    /// The paths that its symbolic link may lead to by the lines with this sign; `None` if
    /// one is not in the tree or cannot be read.
    fn targets(&self, sign: u8) -> Option<Vec<Vec<u8>>> {
        if self.content != Content::Text {
            return None;
        }
        let mut targets = Vec::new();
        for target in self.changes.iter().filter_map(|line| line.strip_prefix(&[sign])) {
            let before = targets.len();
            targets.extend(self.names.iter().filter_map(|name| name::followed(name, target)));
            if targets.len() == before {
                return None;
            }
        }
        Some(targets)
    }
}

/// The parts of a patch that change files. Text that is no patch has none.
pub fn files(patch: &[u8]) -> Vec<FilePatch<'_>> {
    let mut files = reader::parts(patch);
    files.retain(|file| !file.is_prose);
    files
}

/// Why a part of a patch is not graded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// It may change this test.
    Test(Vec<u8>),
    /// It changes binary data.
    Binary,
    /// It adds a script that only reproduces the fault.
    Script,
    /// git and patch(1) may apply it to a file that cannot be told.
    Unreadable(&'static str),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeftOut::Test(_) => f.write_str("a test"),
            LeftOut::Binary => f.write_str("no text"),
            LeftOut::Script => f.write_str("a script that shows the fault"),
            LeftOut::Unreadable(why) => f.write_str(why),
        }
    }
}

/// All parts of a patch in its order, with the reasons for which some are left out. The texts
/// together are the patch. Prose is kept; it is no change.
pub fn split<'a>(
    patch: &'a [u8],
    is_test: &dyn Fn(&str) -> bool,
) -> Vec<(FilePatch<'a>, Option<LeftOut>)> {
    let parts = reader::parts(patch);
    let links: Vec<&FilePatch<'_>> = parts.iter().filter(|part| part.is_link).collect();
    let mut reasons: Vec<_> = parts.iter().map(|part| left_out(part, &links, is_test)).collect();
    links::agree(&parts, &mut reasons);
    script::keep_used(&parts, &mut reasons);
    parts.into_iter().zip(reasons).collect()
}

fn left_out(
    part: &FilePatch<'_>,
    links: &[&FilePatch<'_>],
    is_test: &dyn Fn(&str) -> bool,
) -> Option<LeftOut> {
    let is_test = |path: &[u8]| is_test(&String::from_utf8_lossy(path));
    let [path, _] = name::paths(part.path());
    if let Some(test) = [&path].into_iter().chain(&part.names).find(|name| is_test(name)) {
        return Some(LeftOut::Test(test.clone()));
    }
    if let Some(why) = part.unreadable {
        return Some(LeftOut::Unreadable(why));
    }
    if let Some(why) = links::behind(part, links, &is_test) {
        return Some(why);
    }
    if part.is_link {
        let Some(targets) = part.targets(b'+') else {
            return Some(LeftOut::Unreadable("a symbolic link out of the tree"));
        };
        let inside = |path: &Vec<u8>| [path.as_slice(), b"/"].concat();
        // The link may take the place of a folder of tests, or lead to one.
        let also = part.names.iter().map(inside);
        let mut paths = targets.iter().flat_map(|path| [path.clone(), inside(path)]).chain(also);
        if let Some(test) = paths.find(|path| is_test(path)) {
            return Some(LeftOut::Test(test));
        }
    }
    if part.content == Content::Binary {
        return Some(LeftOut::Binary);
    }
    let is_script = part.is_new && script::is_reproduction(&String::from_utf8_lossy(part.path()));
    is_script.then_some(LeftOut::Script)
}

/// The part of a patch that is graded, and the paths that were left out, with reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// The remaining patch: the complete parts of the files that are kept.
    pub patch: String,
    /// `tests/test_a.py: a test` and so on.
    pub dropped: Vec<String>,
}

/// Removes from a patch the changes of tests, binaries, and scripts that only reproduce the
/// fault.
pub fn cleaned(patch: &str, is_test: &dyn Fn(&str) -> bool) -> Cleaned {
    let mut cleaned = Cleaned::default();
    let (mut at, mut is_change) = (0, false);
    for (part, why) in split(patch.as_bytes(), is_test) {
        let (from, to) = (at, at + part.text.len());
        at = to;
        match why {
            // Parts end where lines do, so they are text if all is.
            None => {
                cleaned.patch += patch.get(from..to).unwrap_or_default();
                is_change |= !part.is_prose;
            }
            Some(why) => {
                let path = match &why {
                    LeftOut::Test(path) => path,
                    _ => part.path(),
                };
                cleaned.dropped.push(format!("{}: {why}", shown(path)));
            }
        }
    }
    if !is_change {
        cleaned.patch.clear();
    }
    if !cleaned.patch.is_empty() && !cleaned.patch.ends_with('\n') {
        cleaned.patch.push('\n');
    }
    cleaned
}

/// Whether a path belongs to a test by the conventions of Python projects.
pub fn is_test_by_custom(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').collect();
    let name = parts.pop().unwrap_or_default();
    let file = ["conftest.py", "tests.py"].contains(&name)
        || name.starts_with("test_")
        || name.ends_with("_test.py");
    file || parts.iter().any(|part| ["tests", "test", "testing"].contains(part))
}
