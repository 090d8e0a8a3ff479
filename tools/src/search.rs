//! Finds lines by a pattern, with ripgrep's engine.

use async_trait::async_trait;
use fixfly_runtime::{Entry, Observation, Outcome, Tool, ToolContext, ToolError, ToolSpec};
use globset::{GlobBuilder, GlobMatcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{Searcher, sinks::Lossy};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::document::Document;
use crate::files::files;
use crate::place::{absolute, root, shown};
use crate::{Open, arguments, parameters};

const NAME: &str = "search";

pub(crate) const ENTRY: Entry<Open> =
    Entry { name: NAME, about: "find lines by a regular expression", open: || Box::new(Search) };

struct Search;

/// Maximum number of lines shown, and of characters of each.
const LINES: usize = 100;
const WIDTH: usize = 250;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// A regular expression, as ripgrep reads it.
    pattern: String,
    /// The folder to search below; the repository's root if not given.
    path: Option<String>,
    /// Only files that match this glob, for example `*.py` or `django/db/**`.
    glob: Option<String>,
    /// Whether capital and small letters are the same.
    #[serde(default)]
    ignore_case: bool,
}

#[async_trait]
impl Tool for Search {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.into(),
            description: "Finds the lines that match a regular expression, in all files that no ignore file names. \
                          Shows 100 lines at most, and says in which files there are more."
                .into(),
            parameters: parameters::<Arguments>(),
        }
    }

    async fn call(&self, args: Value, context: ToolContext<'_>) -> Result<Observation, ToolError> {
        let Arguments { pattern, path, glob, ignore_case } = arguments(NAME, args)?;
        let root = root(NAME, &context)?;
        let matcher = RegexMatcherBuilder::new()
            .case_insensitive(ignore_case)
            .line_terminator(Some(b'\n'))
            .build(&pattern)
            .map_err(|e| {
                let why = one_line(&e.to_string());
                ToolError::Refused(format!("`{pattern}` is no regular expression: {why}"))
            })?;
        let glob = glob.as_deref().map(matching).transpose()?;
        let folder = absolute(root, path.as_deref().unwrap_or("."));
        let mut hits = Hits::default();
        for file in files(&context, root, &folder).await? {
            let full = format!("{folder}/{}", file.path);
            let name = shown(root, &full);
            if glob.as_ref().is_some_and(|glob| !glob.is_match(name) && !glob.is_match(&file.path))
            {
                continue;
            }
            hits.add(name, matching_lines(&matcher, &file.bytes)?);
        }
        Ok(Observation::new(Outcome::Done, hits.text(&pattern)))
    }
}

/// The matching lines of a text file, with their numbers; none for a binary file.
fn matching_lines(matcher: &RegexMatcher, bytes: &[u8]) -> Result<Vec<(u64, String)>, ToolError> {
    let mut lines = Vec::new();
    // `view` numbers the same lines of the same text.
    let is_plain = !bytes.contains(&b'\r') && bytes.is_ascii() && !bytes.contains(&0);
    let shown = match is_plain {
        true => None,
        false => match Document::read(bytes.to_vec()) {
            Some(document) => Some(document.shown()),
            None => return Ok(lines),
        },
    };
    let sink = Lossy(|number, line| {
        lines.push((number, line.trim_end().to_string()));
        Ok(true)
    });
    Searcher::new()
        .search_slice(matcher, shown.as_deref().map_or(bytes, str::as_bytes), sink)
        .map_err(|e| ToolError::Refused(format!("the search failed: {e}")))?;
    Ok(lines)
}

/// A glob for paths. A glob without a slash matches names, as users expect.
pub(crate) fn matching(glob: &str) -> Result<GlobMatcher, ToolError> {
    let path = glob.trim_start_matches("./").trim_start_matches('/');
    let path = if glob.contains('/') { path.to_string() } else { format!("**/{path}") };
    let glob = GlobBuilder::new(&path).literal_separator(true).build().map_err(|e| {
        ToolError::Refused(format!("`{glob}` is no glob: {}", one_line(&e.kind().to_string())))
    })?;
    Ok(glob.compile_matcher())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[derive(Default)]
struct Hits {
    shown: Vec<String>,
    /// Files with more matching lines, and the number of those lines.
    more: Vec<(String, usize)>,
    lines: usize,
    files: usize,
}

impl Hits {
    fn add(&mut self, name: &str, lines: Vec<(u64, String)>) {
        if lines.is_empty() {
            return;
        }
        self.files += 1;
        self.lines += lines.len();
        let room = LINES - self.shown.len();
        for (number, line) in lines.iter().take(room) {
            let end = line.char_indices().nth(WIDTH).map_or(line.len(), |(at, _)| at);
            self.shown.push(format!("{name}:{number}:{}", &line[..end]));
        }
        if lines.len() > room {
            self.more.push((name.to_string(), lines.len() - room));
        }
    }

    fn text(self, pattern: &str) -> String {
        if self.lines == 0 {
            return format!("no line matches `{pattern}`");
        }
        let mut text =
            format!("{} lines in {} files:\n{}", self.lines, self.files, self.shown.join("\n"));
        if !self.more.is_empty() {
            const NAMED: usize = 20;
            let named: Vec<String> = self
                .more
                .iter()
                .take(NAMED)
                .map(|(name, count)| format!("{name} ({count})"))
                .collect();
            let rest = match self.more.len().saturating_sub(NAMED) {
                0 => String::new(),
                rest => format!(" and {rest} files more"),
            };
            text += &format!(
                "\nnot shown: {}{rest}; narrow the search by `path`, `glob` or a longer pattern",
                named.join(", ")
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_said() {
        let mut hits = Hits::default();
        hits.add("a.py", vec![(3, "x".into())]);
        hits.add("b.py", (0..150).map(|n| (n, "y".to_string())).collect());
        hits.add("c.py", Vec::new());
        let text = hits.text("x|y");
        assert!(text.starts_with("151 lines in 2 files:\na.py:3:x\nb.py:0:y\n"), "{text}");
        assert!(
            text.ends_with(
                "not shown: b.py (51); narrow the search by `path`, `glob` or a longer pattern"
            ),
            "{text}"
        );
        assert_eq!(Hits::default().text("z"), "no line matches `z`");
    }

    #[test]
    fn globs_are_on_names_or_paths() {
        assert!(matching("*.py").unwrap().is_match("a/b/c.py"));
        assert!(matching("a/**").unwrap().is_match("a/b/c.py"));
        assert!(!matching("b/*.py").unwrap().is_match("a/b/c.py"));
        assert!(matching("[ab].py").unwrap().is_match("x/a.py"));
        assert!(!matching("[!ab].py").unwrap().is_match("x/a.py"));
        assert!(matching("a/**/c.py").unwrap().is_match("a/c.py"));
        assert!(matching("{a,b}.py").unwrap().is_match("x/b.py"));
        let why = matching("[z-a]").err().unwrap().to_string();
        assert!(why.contains("`[z-a]` is no glob: invalid range"), "{why}");
    }

    #[test]
    fn lines_are_numbered_and_binaries_passed_over() {
        let check = |pattern: &str, bytes: &[u8], expected: &[(u64, &str)]| {
            let matcher = RegexMatcher::new(pattern).unwrap();
            let found = matching_lines(&matcher, bytes).unwrap();
            let found: Vec<_> = found.iter().map(|(at, line)| (*at, line.as_str())).collect();
            assert_eq!(found, expected, "{pattern}");
        };
        check("b+", b"a\nbb\r\nc\n b", &[(2, "bb"), (4, " b")]);
        check("b", b"a\nb\n\0", &[]);
        check("b", b"\xff b\n", &[(1, "\\xff b")]);
        check("^b$", b"\xef\xbb\xbfb\r\nb\r\n", &[(1, "b"), (2, "b")]);
        check("b$", b"a\rb\rc", &[(2, "b")]);
        check("\u{e9}", b"# coding: latin-1\n\xe9\n", &[(2, "\u{e9}")]);
        check("b", b"\xff\xfea\0\n\0b\0", &[(2, "b")]);
        check("c", "a\u{c}\u{2028}b\nc".as_bytes(), &[(2, "c")]);
    }
}
