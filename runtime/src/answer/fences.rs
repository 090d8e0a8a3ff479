//! The fenced blocks of a text.

use std::ops::Range;

use super::python::Strings;
use super::shell;

/// How deep blocks are read inside blocks.
const MAX_DEPTH: usize = 3;

/// A line without its line break.
#[derive(Clone, Copy)]
pub(super) struct Line<'t> {
    pub(super) start: usize,
    pub(super) text: &'t str,
}

pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for whole in text.split_inclusive('\n') {
        let text = whole.strip_suffix('\n').unwrap_or(whole);
        lines.push(Line { start, text: text.strip_suffix('\r').unwrap_or(text) });
        start += whole.len();
    }
    lines
}

/// White space at the start of a line, invisible characters included.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || is_invisible(c)
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{feff}' | '\u{200b}' | '\u{2060}')
}

pub(super) fn is_blank(line: &str) -> bool {
    line.chars().all(is_space)
}

/// Which lines close a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Fences outside the strings of Python.
    Aware,
    /// The first fence, as in CommonMark.
    Plain,
    /// As `Aware`; in shell code, fences outside heredocs and quotations.
    Shell,
}

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
    fn of(tag: &str) -> Kind {
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
    fn may_be_python(self) -> bool {
        matches!(self, Kind::Untagged | Kind::Python | Kind::Other)
    }
}

/// A block of code.
#[derive(Clone, Debug)]
pub(super) struct Block<'t> {
    pub(super) kind: Kind,
    /// The first word after the fence, in lower case.
    pub(super) tag: String,
    /// Its lines, without the indentation of what the block stands in.
    pub(super) code: String,
    /// Its lines in the text, as written.
    pub(super) span: Range<usize>,
    /// Whether a fence ends it.
    pub(super) closed: bool,
    /// What is still open at the fence that ends it, if another fence could end it too.
    pub(super) doubt: Option<shell::Open>,
    /// The line of prose before it.
    pub(super) label: &'t str,
}

/// The start of a block.
pub(super) struct Opening<'t> {
    mark: char,
    run: usize,
    info: &'t str,
    tag: String,
    pub(super) kind: Kind,
    /// The indentation of what the block stands in.
    indent: String,
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

fn tag(info: &str) -> String {
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
    pub(super) fn inner<'l>(&self, line: &'l str) -> &'l str {
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

/// Where a block ends.
pub(super) struct End {
    /// The line after its last whole line.
    pub(super) line: usize,
    /// How much of that line belongs to it, too.
    pub(super) part: usize,
    /// Where reading goes on.
    pub(super) next: usize,
    pub(super) closed: bool,
    pub(super) doubt: Option<shell::Open>,
}

impl End {
    /// A fence on a line of its own.
    pub(super) fn at(line: usize) -> Self {
        End { line, part: 0, next: line + 1, closed: true, doubt: None }
    }

    /// A line that does not belong to the block.
    pub(super) fn before(line: usize, closed: bool) -> Self {
        End { line, part: 0, next: line, closed, doubt: None }
    }

    /// A fence at the end of a line.
    pub(super) fn after(line: usize, part: usize) -> Self {
        End { line, part, next: line + 1, closed: true, doubt: None }
    }
}

/// The blocks of a text, and after each the blocks inside it. Linear in the text's length.
pub(super) fn blocks(text: &str, mode: Mode) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    Reader::new(text, mode).blocks(0, MAX_DEPTH, &mut found);
    found
}

struct Reader<'t> {
    text: &'t str,
    mode: Mode,
    lines: Vec<Line<'t>>,
    /// The last line that is only a fence.
    last_fence: usize,
    /// How often a string of Python that does not end was read to the end of the text.
    unended: usize,
    /// Whether a block of shell code has no certain end.
    doubted: bool,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, mode: Mode) -> Self {
        let lines = lines(text);
        let is_fence =
            |line: &Line<'_>| opening(line.text).is_some_and(|fence| fence.info.is_empty());
        let last_fence = lines.iter().rposition(is_fence).unwrap_or(0);
        Reader { text, mode, lines, last_fence, unended: 0, doubted: false }
    }

    fn blocks(&mut self, base: usize, depth: usize, found: &mut Vec<Block<'t>>) {
        let (mut at, mut label) = (0, "");
        while at < self.lines.len() {
            let Line { start, text: line } = self.lines[at];
            let Some(opening) = opening(line) else {
                if let Some(block) = one_line(line, start + base, label) {
                    found.push(block);
                } else if !is_blank(line) {
                    label = line;
                }
                at += 1;
                continue;
            };
            let end = self.end(at, &opening);
            let next = end.next;
            let (block, inside) = self.block(at + 1, end, opening, label, base);
            let nested = depth > 0 && block.may_nest;
            found.push(block.block);
            if nested {
                let start = base + inside.start;
                Reader::new(&self.text[inside], self.mode).blocks(start, depth - 1, found);
            }
            (at, label) = (next, "");
        }
    }

    /// The block of these lines, and its span in this reader's text.
    fn block(
        &self,
        first: usize,
        end: End,
        opening: Opening<'_>,
        label: &'t str,
        base: usize,
    ) -> (Nesting<'t>, Range<usize>) {
        let start_of = |line: usize| self.lines.get(line).map_or(self.text.len(), |l| l.start);
        let start = start_of(first);
        let span = start..(start_of(end.line) + end.part).max(start);
        let part = self.lines.get(end.line).map(|line| &line.text[..end.part]);
        let whole = self.lines[first.min(end.line)..end.line].iter().map(|line| line.text);
        let lines: Vec<&str> = whole
            .chain(part.filter(|part| !part.is_empty()))
            .map(|line| opening.unquoted(line))
            .collect();
        // A longer fence, or a tag for text: the block shows how an answer is written.
        let may_nest = opening.kind == Kind::Text
            || (opening.run > 3 && matches!(opening.kind, Kind::Untagged | Kind::Other));
        let block = Block {
            kind: opening.kind,
            code: dedented(&lines, &opening.indent),
            tag: opening.tag,
            span: span.start + base..span.end + base,
            closed: end.closed,
            doubt: end.doubt,
            label,
        };
        (Nesting { block, may_nest }, span)
    }

    fn end(&mut self, at: usize, opening: &Opening<'_>) -> End {
        match self.mode {
            Mode::Shell if opening.kind.is_shell() && !self.doubted => {
                let end = shell::end(&self.lines, at, opening, self.last_fence);
                self.doubted |= end.doubt.is_some();
                end
            }
            Mode::Plain => self.plain_end(at, opening),
            _ if opening.kind.may_be_python() => self.python_end(at, opening),
            _ => self.plain_end(at, opening),
        }
    }

    fn plain_end(&self, at: usize, opening: &Opening<'_>) -> End {
        let closes = |line: &Line<'_>| opening.after_fence(line.text) == Some("");
        let found = self.lines[at + 1..].iter().position(closes);
        found.map_or_else(|| End::before(self.lines.len(), false), |after| End::at(at + 1 + after))
    }

    /// The first fence outside the strings of Python. If a string does not end, the first
    /// fence.
    fn python_end(&mut self, at: usize, opening: &Opening<'_>) -> End {
        // Each quotation mark can be left open once; more often only in texts made to be slow.
        if self.unended > 4 {
            return self.plain_end(at, opening);
        }
        let mut strings = Strings::default();
        for number in at + 1..self.lines.len() {
            let line = self.lines[number].text;
            if !strings.is_open() {
                match opening.after_fence(line) {
                    Some("") => return End::at(number),
                    Some(info) if is_tag(info) => return End::before(number, true),
                    Some(info) if !info.contains('`') => return End::at(number),
                    _ if line.trim_start().starts_with("</think>") => {
                        return End::before(number, false);
                    }
                    _ => {}
                }
            }
            let code = strings.read(line);
            if let Some(part) = opening.fence_at_end(line)
                && (code.contains(part) || (code.is_comment(part) && number > self.last_fence))
            {
                return End::after(number, part);
            }
        }
        if strings.is_open() {
            self.unended += 1;
            let doubt = Some(shell::Open::Quotation);
            return End { doubt, ..self.plain_end(at, opening) };
        }
        End::before(self.lines.len(), false)
    }
}

struct Nesting<'t> {
    block: Block<'t>,
    may_nest: bool,
}

/// A block that begins and ends in one line, if it defines something.
fn one_line<'t>(line: &str, start: usize, label: &'t str) -> Option<Block<'t>> {
    let before = line.len() - line.trim_start_matches(is_space).len();
    let fenced = line[before..].trim_end();
    let inside = fenced.strip_prefix("```")?.strip_suffix("```")?;
    if !inside.contains("def ") || inside.contains('`') {
        return None;
    }
    let (tag, code) = match inside.split_once(' ') {
        Some((word, code)) if Kind::of(&tag(word)) == Kind::Python => (tag(word), code),
        _ => (String::new(), inside),
    };
    let at = start + before + 3 + (inside.len() - code.len());
    Some(Block {
        kind: Kind::of(&tag),
        tag,
        code: format!("{code}\n"),
        span: at..at + code.len(),
        closed: true,
        doubt: None,
        label,
    })
}

/// Lines without the part of `indent` that all of them have.
fn dedented(lines: &[&str], indent: &str) -> String {
    let mut common = indent;
    for line in lines.iter().filter(|line| !is_blank(line)) {
        let same = common.bytes().zip(line.bytes()).take_while(|(one, other)| one == other);
        let mut length = same.count();
        while !common.is_char_boundary(length) {
            length -= 1;
        }
        common = &common[..length];
    }
    let mut code = String::new();
    for line in lines {
        let blank = if is_blank(line) { "" } else { line };
        code += line.strip_prefix(common).unwrap_or(blank);
        code.push('\n');
    }
    code
}
