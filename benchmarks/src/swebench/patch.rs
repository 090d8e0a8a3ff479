//! Reads a patch in git's format file by file, and keeps the part that is a fix.

/// The part of a patch that concerns one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePatch<'a> {
    /// Its text, including the final newline.
    pub text: &'a str,
    /// Path before; `None` if the file is new.
    pub old: Option<&'a str>,
    /// Path after; `None` if the file is deleted.
    pub new: Option<&'a str>,
    /// Whether it changes binary data.
    pub is_binary: bool,
}

impl FilePatch<'_> {
    /// The file's path.
    pub fn path(&self) -> &str {
        self.new.or(self.old).unwrap_or_default()
    }
}

/// The files of a patch. Text that is not a patch has none.
pub fn files(patch: &str) -> Vec<FilePatch<'_>> {
    let mut starts: Vec<usize> = Vec::new();
    let (mut at, mut previous) = (0, "");
    // Remaining lines of a hunk, in the old and in the new file.
    let mut left = [0_u64; 2];
    for line in patch.split_inclusive('\n') {
        let in_hunk = left != [0, 0];
        if in_hunk {
            match line.as_bytes().first() {
                Some(b'-') => left[0] = left[0].saturating_sub(1),
                Some(b'+') => left[1] = left[1].saturating_sub(1),
                Some(b'\\') => {}
                _ => left = left.map(|lines| lines.saturating_sub(1)),
            }
        } else if line.starts_with("diff --git ") {
            starts.push(at);
        } else if line.starts_with("+++ ") && previous.starts_with("--- ") {
            // A plain diff has no `diff --git` line.
            let here = at - previous.len();
            let own = starts.last().is_some_and(|start| {
                patch[*start..here].starts_with("diff --git ")
                    && !patch[*start..here].contains("\n@@ ")
            });
            if !own {
                starts.push(here);
            }
        } else if let Some(counts) = line.strip_prefix("@@ ").and_then(hunk) {
            left = counts;
        }
        previous = line;
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([patch.len()]);
    starts.iter().zip(ends).map(|(start, end)| file(&patch[*start..end])).collect()
}

/// Lines of the old and the new file: `-1,7 +1,8 @@`.
fn hunk(ranges: &str) -> Option<[u64; 2]> {
    let count = |range: &str| match range.split_once(',') {
        Some((_, count)) => count.parse().ok(),
        None => range.parse::<u64>().ok().map(|_| 1),
    };
    let mut words = ranges.split(' ');
    Some([count(words.next()?.strip_prefix('-')?)?, count(words.next()?.strip_prefix('+')?)?])
}

fn file(text: &str) -> FilePatch<'_> {
    let head: Vec<&str> = text.lines().take_while(|line| !line.starts_with("@@ ")).collect();
    let after = |start: &str| head.iter().find_map(|line| line.strip_prefix(start));
    let side = |start: &str, prefix: &str| {
        let name = after(start)?.split('\t').next()?;
        (name != "/dev/null").then(|| name.strip_prefix(prefix).unwrap_or(name))
    };
    let both = head.first().and_then(|line| line.strip_prefix("diff --git a/")?.rsplit_once(" b/"));
    let has_sides = after("--- ").is_some();
    let old = match after("rename from ").or(after("copy from ")) {
        _ if has_sides => side("--- ", "a/"),
        Some(name) => Some(name),
        None => both.map(|(old, _)| old).filter(|_| after("new file mode").is_none()),
    };
    let new = match after("rename to ").or(after("copy to ")) {
        _ if has_sides => side("+++ ", "b/"),
        Some(name) => Some(name),
        None => both.map(|(_, new)| new).filter(|_| after("deleted file mode").is_none()),
    };
    let is_binary = after("GIT binary patch").or(after("Binary files ")).is_some();
    FilePatch { text, old, new, is_binary }
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
    for file in files(patch) {
        let of_test = [file.old, file.new].into_iter().flatten().any(is_test);
        let why = match &file {
            _ if of_test => "a test",
            file if file.is_binary => "no text",
            file if file.old.is_none() && is_reproduction(file.path()) => {
                "a script that shows the fault"
            }
            file => {
                cleaned.patch += file.text;
                continue;
            }
        };
        cleaned.dropped.push(format!("{}: {why}", file.path()));
    }
    if !cleaned.patch.is_empty() && !cleaned.patch.ends_with('\n') {
        cleaned.patch.push('\n');
    }
    cleaned
}

/// Whether a path is a reproduction script that an agent left at the root.
fn is_reproduction(path: &str) -> bool {
    let known = [
        "repro", "test_", "test.", "debug", "check_", "verify", "demo", "tmp", "temp", "scratch",
        "bug", "issue", "minimal", "example.",
    ];
    let name = path.to_lowercase();
    !path.contains('/') && known.iter().any(|known| name.starts_with(known))
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

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "\
diff --git a/src/a.py b/src/a.py
--- a/src/a.py
+++ b/src/a.py
@@ -1,2 +1,2 @@
 x
--- a/not a header
+++ b/nor this
diff --git a/tests/test_a.py b/tests/test_a.py
new file mode 100644
--- /dev/null
+++ b/tests/test_a.py
@@ -0,0 +1 @@
+diff --git a/x b/y
diff --git a/logo.png b/logo.png
index 1..2 100644
Binary files a/logo.png and b/logo.png differ
diff --git a/old.py b/new.py
similarity index 100%
rename from old.py
rename to new.py
diff --git a/reproduce.py b/reproduce.py
new file mode 100644
--- /dev/null
+++ b/reproduce.py
@@ -0,0 +1 @@
+x";

    #[test]
    fn a_patch_is_read_file_by_file() {
        let found: Vec<_> = files(PATCH).iter().map(|f| (f.old, f.new, f.is_binary)).collect();
        assert_eq!(
            found,
            [
                (Some("src/a.py"), Some("src/a.py"), false),
                (None, Some("tests/test_a.py"), false),
                (Some("logo.png"), Some("logo.png"), true),
                (Some("old.py"), Some("new.py"), false),
                (None, Some("reproduce.py"), false),
            ]
        );
        assert_eq!(files(PATCH).iter().map(|f| f.text).collect::<String>(), PATCH);
        let plain = "--- a.py\n+++ a.py\n@@ -1 +1 @@\n-x\n+y\n--- b.py\t2020\n+++ b.py\t2021\n@@ -1 +1 @@\n-x\n+y\n";
        assert_eq!(files(plain).iter().map(FilePatch::path).collect::<Vec<_>>(), ["a.py", "b.py"]);
        assert_eq!(files("no patch"), []);
    }

    #[test]
    fn only_the_fix_is_graded() {
        let cleaned = cleaned(PATCH, &is_test_by_custom);
        let kept: Vec<_> = files(&cleaned.patch).iter().map(|f| f.path().to_string()).collect();
        assert_eq!(kept, ["src/a.py", "new.py"]);
        assert_eq!(
            cleaned.dropped,
            [
                "tests/test_a.py: a test",
                "logo.png: no text",
                "reproduce.py: a script that shows the fault"
            ]
        );
        assert!(!is_test_by_custom("src/contest.py") && is_test_by_custom("a/conftest.py"));
    }
}
