//! Lines that open and close a block, and what their tags mean.

use super::lines::{is_blank, is_invisible, is_space};

/// What a block contains, by its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Untagged,
    Python,
    Shell,
    /// Shell commands with prompts, perhaps with their output.
    Session,
    /// The form of mini-swe-agent.
    Mini,
    /// Text that may contain blocks.
    Text,
    Json,
    Diff,
    Other,
}

impl Kind {
    pub(super) fn of(tag: &str) -> Kind {
        match tag {
            "" => Kind::Untagged,
            "python" | "py" | "python3" | "python2" | "py3" | "pyi" | "pycon" | "ipython"
            | "python-repl" | "cython" => Kind::Python,
            "bash" | "sh" | "shell" | "zsh" | "ksh" | "shellscript" | "bash-script" => Kind::Shell,
            "console" | "shell-session" | "shellsession" | "sh-session" | "bash-session"
            | "terminal" => Kind::Session,
            "mswea_bash_command" => Kind::Mini,
            "markdown" | "md" | "text" | "txt" | "plaintext" | "plain" => Kind::Text,
            "json" | "jsonc" | "json5" => Kind::Json,
            "diff" | "patch" | "udiff" => Kind::Diff,
            _ => Kind::Other,
        }
    }

    pub(super) fn is_shell(self) -> bool {
        matches!(self, Kind::Shell | Kind::Session | Kind::Mini)
    }

    /// Whether strings of Python can be expected inside.
    pub(super) fn may_be_python(self) -> bool {
        matches!(self, Kind::Untagged | Kind::Python | Kind::Other)
    }
}

/// The start of a block.
pub(super) struct Opening<'t> {
    mark: char,
    pub(super) run: usize,
    pub(super) info: &'t str,
    pub(super) tag: String,
    pub(super) kind: Kind,
    /// The indentation of what the block stands in.
    pub(super) indent: String,
    /// How many `>` are before each of its lines.
    quotes: usize,
}

/// Reads a line that opens a block: a fence, also in a list or a quotation, or at the end
/// of a line of prose.
pub(super) fn opening(line: &str) -> Option<Opening<'_>> {
    let mut rest = line.trim_start_matches(is_space);
    let mut quotes = 0;
    while let Some(quoted) = rest.strip_prefix('>') {
        quotes += 1;
        rest = quoted.trim_start_matches(is_space);
    }
    rest = after_list_marker(rest);
    let Some(mark) = rest.chars().next().filter(|mark| matches!(mark, '`' | '~')) else {
        return opening_after_prose(line);
    };
    let info = rest.trim_start_matches(mark);
    let run = rest.len() - info.len();
    if run < 3 || (mark == '`' && info.contains('`')) {
        return None;
    }
    let before = &line[..line.len() - rest.len()];
    let before = before
        .rsplit_once('>')
        .map_or(before, |(_, after)| after.strip_prefix(' ').unwrap_or(after));
    let blank = |c: char| if c.is_whitespace() { c } else { ' ' };
    let indent = before.chars().filter(|c| !is_invisible(*c)).map(blank).collect();
    Some(Opening::new(mark, run, info.trim(), indent, quotes))
}

fn opening_after_prose(line: &str) -> Option<Opening<'_>> {
    let at = line.find("```")?;
    let info = line[at..].trim_start_matches('`');
    let run = line.len() - at - info.len();
    let is_tag = |c: char| c.is_ascii_alphanumeric() || "_+#.{}- ".contains(c);
    let info = info.trim();
    // A known tag, or the end of a sentence: other fences at the end of a line are code.
    let opens = match info.is_empty() {
        true => line[..at].trim_end().ends_with(':'),
        false => info.chars().all(is_tag) && Kind::of(&tag(info)) != Kind::Other,
    };
    opens.then(|| Opening::new('`', run, info, String::new(), 0))
}

/// The text after the marker of a list item: `- `, `2. `.
fn after_list_marker(line: &str) -> &str {
    let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let after = match line.len() - digits.len() {
        0 => line.strip_prefix(['-', '*', '+']),
        1..=9 => digits.strip_prefix(['.', ')']),
        _ => None,
    };
    match after {
        Some(after) if after.starts_with([' ', '\t']) => after.trim_start(),
        _ => line,
    }
}

pub(super) fn tag(info: &str) -> String {
    let info = info.trim_start_matches(['{', '.', ' ']);
    let end = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ':' | ',' | ';' | '=');
    info.split(end).next().unwrap_or_default().to_lowercase()
}

impl<'t> Opening<'t> {
    fn new(mark: char, run: usize, info: &'t str, indent: String, quotes: usize) -> Self {
        let tag = tag(info);
        Opening { mark, run, info, kind: Kind::of(&tag), tag, indent, quotes }
    }

    /// A line of the block, without the quotation's marks.
    pub(super) fn unquoted<'l>(&self, line: &'l str) -> &'l str {
        let mut rest = line;
        for _ in 0..self.quotes {
            let Some(quoted) = rest.trim_start().strip_prefix('>') else { return rest };
            rest = quoted.strip_prefix(' ').unwrap_or(quoted);
        }
        rest
    }

    /// A line of the block, without what the block stands in.
    pub(super) fn contents<'l>(&self, line: &'l str) -> &'l str {
        let line = self.unquoted(line);
        line.strip_prefix(&self.indent).unwrap_or(line)
    }

    /// What follows a fence at the start of a line, if the fence can close the block.
    pub(super) fn after_fence<'l>(&self, line: &'l str) -> Option<&'l str> {
        let line = self.unquoted(line).trim_start_matches(is_space);
        let rest = line.trim_start_matches(self.mark);
        (line.len() - rest.len() >= self.run).then(|| rest.trim_matches(is_space))
    }

    /// The offset of a fence at the end of a line of code.
    pub(super) fn fence_at_end(&self, line: &str) -> Option<usize> {
        let code = line.trim_end().trim_end_matches(self.mark);
        let run = line.trim_end().len() - code.len();
        (run >= self.run && !is_blank(code)).then_some(code.len())
    }
}

/// Whether words after a fence are a tag, so that the fence opens another block.
pub(super) fn is_tag(info: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_+-".contains(c);
    Kind::of(&tag(info)) != Kind::Other || info.chars().all(word)
}
