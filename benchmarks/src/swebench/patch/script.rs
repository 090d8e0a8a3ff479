//! Finds the scripts that an agent left behind to show the fault.

use std::collections::HashSet;

use super::{FilePatch, LeftOut};

/// Words that begin the names of such scripts.
const WORDS: [&str; 15] = [
    "repro",
    "reproduce",
    "reproducer",
    "reproduction",
    "debug",
    "verify",
    "demo",
    "tmp",
    "temp",
    "scratch",
    "bug",
    "issue",
    "minimal",
    "test",
    "example",
];

/// Whether a path is that of a script at the root that shows the fault: one of the words, and
/// then no further letter, as `template.py` has.
pub(super) fn is_reproduction(path: &str) -> bool {
    let name = path.to_lowercase();
    let follows = |rest: &str| {
        rest.chars().next().is_none_or(|next| "_-.".contains(next) || next.is_ascii_digit())
    };
    let is_known = |word: &str| match (word, name.strip_prefix(word)) {
        (_, None) => false,
        ("test", Some(rest)) => rest.starts_with(['_', '.']),
        ("example", Some(rest)) => rest.starts_with('.'),
        (_, Some(rest)) => follows(rest),
    };
    !path.contains('/') && (name.starts_with("check_") || WORDS.iter().any(|word| is_known(word)))
}

/// Takes back that a file is such a script if a part that is kept imports it, or mentions it
/// if it is no module.
pub(super) fn keep_used(parts: &[FilePatch<'_>], reasons: &mut [Option<LeftOut>]) {
    let is_script = |why: &Option<LeftOut>| *why == Some(LeftOut::Script);
    if !reasons.iter().any(is_script) {
        return;
    }
    let mut used = Used::default();
    for (part, _) in parts.iter().zip(&*reasons).filter(|(_, why)| why.is_none()) {
        used.read(part);
    }
    loop {
        let mut found = false;
        for (part, why) in parts.iter().zip(&mut *reasons) {
            if is_script(why) && used.contains(part.path()) {
                *why = None;
                used.read(part);
                found = true;
            }
        }
        if !found {
            return;
        }
    }
}

/// What the added lines of parts use.
#[derive(Default)]
struct Used<'a> {
    /// Words of lines that import something.
    imported: HashSet<&'a [u8]>,
    /// Names of files.
    mentioned: HashSet<&'a [u8]>,
}

impl<'a> Used<'a> {
    fn read(&mut self, part: &FilePatch<'a>) {
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 128;
        let imports = [&b"import"[..], b"import_module", b"__import__"];
        for line in part.changes.iter().filter_map(|line| line.strip_prefix(b"+")) {
            let words = || line.split(|byte| !is_letter(byte));
            if words().any(|word| imports.contains(&word)) {
                self.imported.extend(words());
            }
            let names = line.split(|byte| !is_letter(byte) && !b".-".contains(byte));
            self.mentioned.extend(names.filter(|name| name.contains(&b'.')));
        }
    }

    fn contains(&self, path: &[u8]) -> bool {
        match path.strip_suffix(b".py") {
            Some(module) => self.imported.contains(module),
            None => self.mentioned.contains(path),
        }
    }
}
