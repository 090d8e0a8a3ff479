//! The line at which a method was removed from its file.

use fixfly_runtime::{Episode, Method};

/// The index of the line before which the method stood in the file without it. A recorded
/// change says so: its last lines are those below the method.
pub(super) fn of(episode: &Episode, method: &Method) -> Option<usize> {
    let submitted = episode.turns.iter().filter_map(|turn| turn.observation.patch.as_deref());
    let mut patches = episode.patch.as_deref().into_iter().chain(submitted);
    patches.find_map(|patch| before(&method.content, &below(patch)?))
}

/// The lines below the last one that a change touches.
fn below(patch: &str) -> Option<Vec<&str>> {
    let lines: Vec<&str> = patch.lines().collect();
    let touches = |line: &&str| line.starts_with(['+', '-']);
    let last = lines.iter().rposition(touches)?;
    lines.iter().position(|line| line.starts_with("@@"))?;
    let below = lines[last + 1..].iter().filter(|line| !line.starts_with('\\'));
    Some(below.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect())
}

/// The only place of these lines in a file; its end if there are none.
fn before(content: &str, below: &[&str]) -> Option<usize> {
    let lines: Vec<&str> = content.lines().collect();
    let is_blank = |line: &&&str| line.trim().is_empty();
    let blank = below.iter().take_while(is_blank).count();
    let below = &below[blank..];
    if below.is_empty() {
        return (!lines.is_empty()).then_some(lines.len());
    }
    let mut found = (0..lines.len()).filter(|at| lines[*at..].starts_with(below));
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: &str =
        "class Cart:\n    def a(self):\n        return 1\n\n    def b(self):\n        return 1\n";

    #[track_caller]
    fn check(patch: &str, expected: Option<usize>) {
        assert_eq!(below(patch).and_then(|below| before(CONTENT, &below)), expected, "{patch}");
    }

    #[test]
    fn the_lines_below_a_method_tell_its_place() {
        let head = "--- a/c.py\n+++ b/c.py\n@@ -4,5 +4,5 @@\n     def m(self):\n-        raise NotImplementedError\n+        return 2\n";
        check(&format!("{head}\n     def b(self):\n         return 1\n"), Some(4));
        check(&format!("{head} \n     def a(self):\n"), Some(1));
        check(head, Some(6));
        check(&format!("{head}\\ No newline at end of file\n"), Some(6));
        // Two places, and none.
        check(&format!("{head}         return 1\n"), None);
        check(&format!("{head}     def c(self):\n"), None);
        check("--- a\n+++ b\n", None);
        check("", None);
    }
}
