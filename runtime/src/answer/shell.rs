//! The command in an answer, and where blocks of shell code end.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use super::fences::{Block, End, Mode, blocks};
use super::lines::{Line, is_blank};
use super::opening::{Kind, Opening, is_tag, opening};

/// A command of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The lines to run, with `\n` line breaks.
    pub text: String,
    /// Where they are in the answer, as written.
    pub span: Range<usize>,
}

/// What a fence would cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Open {
    /// A heredoc, with the word that ends it.
    Heredoc(String),
    /// A quotation.
    Quotation,
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Open::Heredoc(word) => write!(f, "the heredoc that `{word}` ends"),
            Open::Quotation => f.write_str("a quotation"),
        }
    }
}

/// Why there is no command to run, in words that a model can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCommand {
    /// There is no block.
    #[error("the answer holds no ```bash block")]
    NoBlock,
    /// No block has a tag of a shell.
    #[error(
        "the answer holds no ```bash block, only {0}; put the command in one block that starts with ```bash"
    )]
    Tag(String),
    /// There are several blocks of commands.
    #[error(
        "the answer holds {0} blocks of commands, and none was run; give one command a turn, in one ```bash block"
    )]
    Several(usize),
    /// The block has no command.
    #[error("the ```bash block is empty")]
    Empty,
    /// No fence ends the block.
    #[error(
        "the block of commands is not closed, so it was not run; end it with ``` on a line of its own"
    )]
    Unclosed,
    /// The end of the block is not certain.
    #[error(
        "{0} does not end inside the block of commands, so the block was not run; end it before the closing ```, or use a fence of four backticks"
    )]
    Cut(Open),
    /// The block shows prompts and output.
    #[error(
        "the block shows a session with its output, so it was not run; send only the command, in one block that starts with ```bash"
    )]
    Session,
}

/// Extracts the one command of an answer: a block with the tag of a shell. Blocks in
/// mini-swe-agent's form count alone if there are any; equal blocks are one.
///
/// # Errors
/// [`NoCommand`] if there is not exactly one.
pub fn command(text: &str) -> Result<Command, NoCommand> {
    let blocks = blocks(text, Mode::Shell);
    let of = |wanted: fn(Kind) -> bool| -> Vec<&Block<'_>> {
        blocks.iter().filter(|block| wanted(block.kind)).collect()
    };
    let minis = of(|kind| kind == Kind::Mini);
    let commands = if minis.is_empty() { of(Kind::is_shell) } else { minis };
    if let Some(open) = commands.iter().find_map(|block| block.doubt.clone()) {
        return Err(NoCommand::Cut(open));
    }
    let commands = match commands.as_slice() {
        [first, others @ ..] if others.iter().all(|other| is_same(first, other)) => vec![*first],
        _ => commands,
    };
    match commands.as_slice() {
        [] if blocks.is_empty() => Err(NoCommand::NoBlock),
        [] => Err(NoCommand::Tag(tags(&blocks))),
        [block] if !block.closed => Err(NoCommand::Unclosed),
        [block] => {
            let text = without_prompts(block)?;
            match is_blank(&text) {
                true => Err(NoCommand::Empty),
                false => Ok(Command { text, span: block.span.clone() }),
            }
        }
        several => Err(NoCommand::Several(several.len())),
    }
}

/// Whether two whole blocks have the same commands.
fn is_same(one: &Block<'_>, other: &Block<'_>) -> bool {
    one.closed && other.closed && one.code.trim() == other.code.trim()
}

/// The tags of blocks, in words.
fn tags(blocks: &[Block<'_>]) -> String {
    let mut tags: Vec<String> = Vec::new();
    for block in blocks {
        let tag = match block.tag.as_str() {
            "" => "one without a tag".to_string(),
            tag => format!("```{}", tag.chars().take(30).collect::<String>()),
        };
        if !tags.contains(&tag) && tags.len() < 4 {
            tags.push(tag);
        }
    }
    tags.join(", ")
}

/// The commands of a block, without the prompt `$ ` if every line has one.
fn without_prompts(block: &Block<'_>) -> Result<String, NoCommand> {
    let prompt = |line: &&str| line.starts_with("$ ");
    let lines = || block.code.lines().filter(|line| !is_blank(line));
    match (lines().filter(prompt).count(), lines().count()) {
        (prompts, lines) if prompts > 0 && prompts == lines => Ok(block
            .code
            .lines()
            .flat_map(|line| [line.strip_prefix("$ ").unwrap_or(""), "\n"])
            .collect()),
        (1.., _) if block.kind == Kind::Session || lines().next().is_some_and(|l| prompt(&l)) => {
            Err(NoCommand::Session)
        }
        (_, 2..) if block.kind == Kind::Session => Err(NoCommand::Session),
        _ => Ok(block.code.clone()),
    }
}

/// Where the block of shell code ends that line `at` opens: at the first fence outside
/// heredocs and quotations. If there is none, at the first fence; then the end is in doubt
/// if another fence follows.
pub(super) fn end(
    lines: &[Line<'_>],
    at: usize,
    opening_line: &Opening<'_>,
    last_fence: usize,
) -> End {
    let mut shell = Shell::default();
    let mut first: Option<(usize, Open)> = None;
    for (number, line) in lines.iter().enumerate().skip(at + 1) {
        let line = opening_line.contents(line.text);
        match opening_line.after_fence(line) {
            Some("") if shell.is_clean() => return End::at(number),
            Some("") if first.is_none() => first = shell.open().map(|open| (number, open)),
            Some(info) if shell.is_clean() && is_tag(info) => return End::before(number, true),
            Some(info) if shell.is_clean() && !info.contains('`') => return End::at(number),
            _ => {}
        }
        let is_next = || opening(line).is_some_and(|next| next.kind.is_shell());
        if shell.heredocs.is_empty() && !shell.is_clean() && is_next() {
            break;
        }
        shell.read(line);
    }
    match first {
        Some((number, _)) if number >= last_fence => End::at(number),
        Some((number, open)) => End { doubt: Some(open), ..End::at(number) },
        None => end_in_line(lines, at, opening_line),
    }
}

/// The end of a block without a fence on a line of its own: a fence at the end of the
/// text's last line.
fn end_in_line(lines: &[Line<'_>], at: usize, opening: &Opening<'_>) -> End {
    let last = lines.iter().rposition(|line| !is_blank(line.text)).filter(|last| *last > at);
    let part = last.and_then(|last| Some((last, opening.fence_at_end(lines[last].text)?)));
    match part {
        Some((last, part)) => End::after(last, part),
        None => End::before(lines.len(), false),
    }
}

/// The state of a shell between lines.
struct Shell {
    /// What is open, outermost first; the first is the program itself.
    contexts: Vec<Context>,
    heredocs: VecDeque<Heredoc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    /// Commands, with the number of open parentheses.
    Commands(usize),
    /// `"…"`
    Double,
    /// `'…'`
    Single,
    /// `$'…'`
    Escaped,
}

#[derive(Debug)]
struct Heredoc {
    word: String,
    /// Whether tabs before its lines do not count (`<<-`).
    tabs: bool,
}

impl Default for Shell {
    fn default() -> Self {
        Shell { contexts: vec![Context::Commands(0)], heredocs: VecDeque::new() }
    }
}

impl Shell {
    fn is_clean(&self) -> bool {
        self.heredocs.is_empty() && self.contexts.len() < 2
    }

    fn open(&self) -> Option<Open> {
        match (self.heredocs.front(), self.contexts.len()) {
            (Some(heredoc), _) => Some(Open::Heredoc(heredoc.word.clone())),
            (None, 2..) => Some(Open::Quotation),
            _ => None,
        }
    }

    fn read(&mut self, line: &str) {
        if let Some(heredoc) = self.heredocs.front() {
            let line = if heredoc.tabs { line.trim_start_matches('\t') } else { line };
            if line == heredoc.word {
                self.heredocs.pop_front();
            }
            return;
        }
        let bytes = line.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let top = self.contexts.last().copied().unwrap_or(Context::Commands(0));
            at += match top {
                Context::Commands(open) => {
                    if bytes[at] == b'#' && (at == 0 || b" \t;&|(".contains(&bytes[at - 1])) {
                        return;
                    }
                    self.command(line, at, open)
                }
                Context::Double => self.quoted(&bytes[at..]),
                Context::Single | Context::Escaped => {
                    let escapes = top == Context::Escaped && bytes[at] == b'\\';
                    if bytes[at] == b'\'' {
                        self.contexts.pop();
                    }
                    1 + usize::from(escapes)
                }
            };
        }
    }

    /// Reads a character of commands. Returns how many bytes were read.
    fn command(&mut self, line: &str, at: usize, open: usize) -> usize {
        let rest = &line.as_bytes()[at..];
        let deepest = self.contexts.len() - 1;
        let (next, length) = match rest {
            [b'\\', ..] => (None, 2),
            [b'$', b'\'', ..] => (Some(Context::Escaped), 2),
            [b'$', b'(', ..] => (Some(Context::Commands(0)), 2),
            [b'\'', ..] => (Some(Context::Single), 1),
            [b'"', ..] => (Some(Context::Double), 1),
            [b'<', b'<', b'<', ..] => (None, 3),
            [b'<', b'<', ..] => return self.heredoc(line, at),
            [b'(', ..] => {
                self.contexts[deepest] = Context::Commands(open + 1);
                (None, 1)
            }
            [b')', ..] => {
                match open {
                    0 if deepest > 0 => drop(self.contexts.pop()),
                    _ => self.contexts[deepest] = Context::Commands(open.saturating_sub(1)),
                }
                (None, 1)
            }
            _ => (None, 1),
        };
        self.contexts.extend(next);
        length
    }

    fn quoted(&mut self, rest: &[u8]) -> usize {
        match rest {
            [b'\\', ..] => 2,
            [b'"', ..] => {
                self.contexts.pop();
                1
            }
            [b'$', b'(', ..] => {
                self.contexts.push(Context::Commands(0));
                2
            }
            _ => 1,
        }
    }

    /// Reads `<<WORD`. Returns how many bytes were read.
    fn heredoc(&mut self, line: &str, at: usize) -> usize {
        let rest = &line[at + 2..];
        let (tabs, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
        let rest = rest.trim_start_matches([' ', '\t']);
        let (word, after) = match rest.chars().next() {
            Some(quote @ ('\'' | '"')) => match rest[1..].split_once(quote) {
                Some((word, after)) => (word, after),
                None => return 2,
            },
            _ => {
                let rest = rest.strip_prefix('\\').unwrap_or(rest);
                let end = rest.find(|c: char| !(c.is_alphanumeric() || "_-.!".contains(c)));
                rest.split_at(end.unwrap_or(rest.len()))
            }
        };
        // A shift of bits in arithmetic is no heredoc.
        let is_shift = word.starts_with(|c: char| c.is_ascii_digit()) || after.starts_with("))");
        if word.is_empty() || is_shift {
            return 2;
        }
        self.heredocs.push_back(Heredoc { word: word.into(), tabs });
        line.len() - at - after.len()
    }
}
