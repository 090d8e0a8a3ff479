//! Divides a patch into the parts of its files.
//!
//! `git apply` and patch(1) read the same text differently: patch(1) also takes indented
//! diffs, context diffs and ed scripts, and names from `Index:` lines. As long as both read a
//! patch alike, the lines of a hunk are only its contents. After the first line that they may
//! read differently, every line may be a header of a file, and all names in it count.

use std::collections::BTreeSet;

use super::hunk::{is_command, ranges};
use super::name::{self, paths};
use super::{Content, FilePatch, binary};

/// Maximum length of a header. No two paths of a file system are longer.
const LONGEST: usize = 8300;

/// Words before names, and whether git's format has them without a first component to remove.
const WORDS: [(&[u8], bool); 10] = [
    (b"--- ", false),
    (b"+++ ", false),
    (b"*** ", false),
    (b"Index:", false),
    (b"rename from ", true),
    (b"rename to ", true),
    (b"rename old ", true),
    (b"rename new ", true),
    (b"copy from ", true),
    (b"copy to ", true),
];
const GIT: &[u8] = b"diff --git ";

/// All parts of a patch, in its order. Together they are its text.
pub(super) fn parts(patch: &[u8]) -> Vec<FilePatch<'_>> {
    let mut reader = Reader {
        patch,
        at: 0,
        part: Draft::default(),
        parts: Vec::new(),
        left: [0, 0],
        alike: true,
        strip: None,
    };
    for line in patch.split_inclusive(|byte| *byte == b'\n') {
        reader.read(line);
        reader.at += line.len();
    }
    if reader.left != [0, 0] {
        reader.doubt();
    }
    reader.finish();
    reader.parts
}

struct Reader<'a> {
    patch: &'a [u8],
    /// Start of the current line.
    at: usize,
    part: Draft<'a>,
    parts: Vec<FilePatch<'a>>,
    /// Lines that the current hunk still lacks, of the old and of the new file.
    left: [u64; 2],
    /// Whether git and patch(1) have read the patch alike so far.
    alike: bool,
    /// The number of components that git removes, once it has settled on one.
    strip: Option<usize>,
}

/// What is known of the current part.
#[derive(Default)]
struct Draft<'a> {
    start: usize,
    /// All files that its headers may name.
    names: BTreeSet<Vec<u8>>,
    changes: Vec<&'a [u8]>,
    /// The texts after `diff --git `, and after `--- ` and `+++ ` in consecutive lines.
    git: Option<&'a [u8]>,
    sides: Option<[&'a [u8]; 2]>,
    /// The text after `--- ` in the line before.
    old: Option<&'a [u8]>,
    /// Whether the line before is the `+++ ` that completes `sides`.
    sided: bool,
    /// Names of a rename or a copy.
    moved: [Option<&'a [u8]>; 2],
    is_new: bool,
    is_deleted: bool,
    is_link: bool,
    /// Where the data after `GIT binary patch` begins.
    data: Option<usize>,
    no_data: bool,
    hunks: usize,
    /// Whether the line before ends a hunk.
    hunk_ended: bool,
    /// Whether a line may be a command of an ed script or of a plain diff.
    has_command: bool,
    unreadable: Option<&'static str>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, line: &'a [u8]) {
        if self.left != [0, 0] {
            if self.body(line) {
                return;
            }
            // A hunk with fewer lines than its header says.
            self.left = [0, 0];
            self.doubt();
        } else if self.part.hunk_ended {
            if line.starts_with(b"\\") {
                return;
            }
            if ranges(line).is_none() {
                self.finish();
            }
        }
        if line.starts_with(GIT) && self.part.git.is_some() {
            self.finish();
        }
        if line.starts_with(b"@@ -") {
            self.hunk(line);
        } else {
            self.scan(line);
            self.note(line);
        }
    }

    /// Reads a line of a hunk; `false` if it is none.
    fn body(&mut self, line: &'a [u8]) -> bool {
        let (sides, alike) = match line.first() {
            Some(b'-') => ([1, 0], true),
            Some(b'+') => ([0, 1], true),
            Some(b'\\') => ([0, 0], true),
            Some(b' ' | b'\n') => ([1, 1], true),
            // Context for patch(1) alone.
            Some(b'\t' | b'=' | b'\r') => ([1, 1], false),
            _ => return false,
        };
        let [Some(old), Some(new)] = [0, 1].map(|side| self.left[side].checked_sub(sides[side]))
        else {
            return false;
        };
        if !alike {
            self.doubt();
        }
        if !self.alike {
            self.scan(line);
        }
        if sides[0] != sides[1] {
            self.part.changes.push(trimmed(line));
        }
        self.left = [old, new];
        self.part.hunk_ended = self.left == [0, 0];
        true
    }

    /// Reads the header of a hunk.
    fn hunk(&mut self, line: &'a [u8]) {
        let part = &mut self.part;
        let follows = part.sided || part.hunk_ended;
        (part.sided, part.hunk_ended, part.old) = (false, false, None);
        match ranges(line) {
            Some((counts, alike)) if part.git.is_some() || part.sides.is_some() => {
                part.hunks += 1;
                part.hunk_ended = counts == [0, 0];
                self.left = counts;
                if !follows || !alike || counts == [0, 0] {
                    self.doubt();
                }
            }
            _ => self.doubt(),
        }
    }

    /// From here on, git and patch(1) may read different things.
    fn doubt(&mut self) {
        if self.alike {
            self.alike = false;
            let read = &self.patch[self.part.start..self.at];
            read.split_inclusive(|byte| *byte == b'\n').for_each(|line| self.scan(line));
        }
    }

    /// Takes the names that git or patch(1) may read from a line.
    fn scan(&mut self, line: &[u8]) {
        let line = trimmed_end(line);
        // patch(1) reads indented diffs, and those that mail programs marked.
        let indent = line.iter().take_while(|byte| b" \tX".contains(byte)).count();
        let mut text = &line[indent..];
        while let Some(rest) = text.strip_prefix(b"- ") {
            text = rest;
        }
        let names = if let Some(rest) = text.strip_prefix(GIT) {
            Some((rest, false))
        } else {
            let found =
                WORDS.iter().find_map(|(word, whole)| Some((text.strip_prefix(*word)?, *whole)));
            found.filter(|(rest, _)| !rest.is_empty())
        };
        let is_plain = text.len() == line.len();
        let is_command = is_command(text);
        if let Some((rest, whole)) = names {
            self.name(text, rest, whole);
        }
        self.part.has_command |= is_command;
        if is_command
            || text.starts_with(b"*** ")
            || !is_plain && (names.is_some() || text.starts_with(b"@@ -"))
        {
            self.doubt();
        }
    }

    fn name(&mut self, text: &[u8], rest: &[u8], whole: bool) {
        if text.len() > LONGEST {
            self.part.unreadable = Some("a header that is too long for a path");
            return;
        }
        let is_git = text.starts_with(GIT);
        if name::is_unended(rest, is_git) {
            self.part.unreadable = Some("a name in quotes that does not end in its line");
        }
        let names = if is_git { name::git_readings(rest) } else { name::readings(rest) };
        for name in names {
            if name::is_outside(&name) {
                self.part.unreadable = Some("a name with `..` or `.git`");
            }
            let [all, cut] = paths(&name);
            self.part.names.insert(all);
            if !whole {
                self.part.names.insert(cut);
            }
        }
    }

    /// Takes what git reads from a line of a header.
    fn note(&mut self, line: &'a [u8]) {
        let text = trimmed(line);
        let after = |word: &[u8]| text.strip_prefix(word);
        let part = &mut self.part;
        let old = part.old.take();
        part.sided = false;
        part.is_link |= text.ends_with(b"mode 120000")
            || text.starts_with(b"index ") && text.ends_with(b" 120000");
        if let Some(both) = after(GIT) {
            part.git = Some(both);
        } else if let Some(name) = after(b"--- ") {
            part.old = Some(name);
        } else if let (Some(old), Some(new)) = (old, after(b"+++ ")) {
            part.sides = part.sides.or(Some([old, new]));
            part.sided = true;
        } else if part.git.is_none() {
        } else if text == b"GIT binary patch" {
            part.data = part.data.or(Some(self.at + line.len()));
        } else {
            part.is_new |= after(b"new file mode ").is_some();
            part.is_deleted |= after(b"deleted file mode ").is_some();
            part.no_data |= after(b"Binary files ").is_some();
            for (side, words) in
                [[b"rename from ".as_slice(), b"copy from "], [b"rename to ", b"copy to "]]
                    .iter()
                    .enumerate()
            {
                part.moved[side] =
                    part.moved[side].or_else(|| words.iter().find_map(|word| after(word)));
            }
        }
    }

    /// Ends the current part before the current line.
    fn finish(&mut self) {
        let next = Draft { start: self.at, ..Draft::default() };
        let mut part = std::mem::replace(&mut self.part, next);
        let text = &self.patch[part.start..self.at];
        if text.is_empty() {
            return;
        }
        let [old, new] = self.names(&part);
        part.names.extend([&old, &new].into_iter().flatten().map(|name| paths(name)[0].clone()));
        part.names.retain(|name| !name.is_empty());
        let data = part.data.map(|start| &self.patch[start..self.at]);
        let is_git = part.git.is_some();
        let [is_new, is_deleted] = [0, 1].map(|side| {
            let is_none = |text| is_null(text) || !is_git && name::is_epoch(text);
            part.sides.is_some_and(|sides| is_none(sides[side]))
        });
        let content = match data {
            Some(data) if binary::is_text(data) => Content::Encoded,
            Some(_) => Content::Binary,
            None if part.no_data => Content::Binary,
            None => Content::Text,
        };
        if let Some(data) = data {
            part.changes.extend(data.split(|byte| *byte == b'\n'));
        }
        if part.has_command && !part.names.is_empty() {
            part.unreadable = Some("no unified diff");
        }
        self.parts.push(FilePatch {
            text,
            is_prose: part.git.is_none()
                && part.sides.is_none()
                && part.names.is_empty()
                && part.unreadable.is_none(),
            old,
            new,
            content,
            names: part.names.into_iter().collect(),
            changes: part.changes,
            is_new: part.is_new || is_new,
            is_deleted: part.is_deleted || is_deleted,
            is_link: part.is_link,
            unreadable: part.unreadable,
        });
    }

    /// The names before and after, as git reads them.
    fn names(&mut self, part: &Draft<'a>) -> [Option<Vec<u8>>; 2] {
        let strip = self.strip.unwrap_or(1);
        match (part.git, part.sides) {
            (Some(_), Some(sides)) => {
                sides.map(|text| if is_null(text) { None } else { name::git_name(text, strip) })
            }
            (None, Some([old, new])) => {
                let strip = self.settled(new);
                let [first, second] = [old, new].map(|text| name::git_name(text, strip));
                let newest = match (&first, &second) {
                    // Of `file` and `file.orig`, git takes the shorter one.
                    (Some(old), Some(new)) if new.starts_with(old) => first.clone(),
                    _ => second.clone().or_else(|| first.clone()),
                };
                if is_null(old) {
                    [None, second]
                } else if is_null(new) {
                    [first, None]
                } else if name::is_epoch(old) {
                    [None, newest]
                } else if name::is_epoch(new) {
                    [newest, None]
                } else {
                    [newest.clone(), newest]
                }
            }
            (Some(both), None) => {
                let name = name::git_line(both, strip);
                let moved = part.moved.map(|text| name::git_name(text?, 0));
                let [old, new] = moved.map(|moved| moved.or_else(|| name.clone()));
                [old.filter(|_| !part.is_new), new.filter(|_| !part.is_deleted)]
            }
            (None, None) => [None, None],
        }
    }

    /// The number of components that git removes from the names of a diff that is not its
    /// own. Once a new name has no `/`, it removes none, to the end of the patch.
    fn settled(&mut self, new: &[u8]) -> usize {
        let is_bare =
            || !is_null(new) && name::git_name(new, 0).is_some_and(|name| !name.contains(&b'/'));
        if self.strip.is_none() && is_bare() {
            self.strip = Some(0);
        }
        self.strip.unwrap_or(1)
    }
}

fn is_null(text: &[u8]) -> bool {
    text.strip_prefix(b"/dev/null")
        .is_some_and(|rest| rest.first().is_none_or(|byte| b" \t\r".contains(byte)))
}

/// A line without its end.
fn trimmed(line: &[u8]) -> &[u8] {
    let line = trimmed_end(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn trimmed_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}
