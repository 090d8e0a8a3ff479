//! The method in an answer.

use std::ops::Range;

use serde_json::Value;

use super::fences::{Block, Mode, blocks};
use super::lines::{is_space, lines};
use super::opening::Kind;
use super::python::{self, Shape, shape};
use super::{layout, rewrite};

/// Fields of JSON that may contain the code, likeliest first. Others may, too.
const FIELDS: [&str; 4] = ["code", "method", "solution", "answer"];
/// How many words a line above a block may have to be its label.
const LABEL_WORDS: usize = 6;
/// Labels of a block that shows the code as it was.
const BEFORE: [&str; 12] = [
    "original",
    "originally",
    "before",
    "old",
    "previous",
    "previously",
    "current",
    "currently",
    "buggy",
    "faulty",
    "wrong",
    "incorrect",
];
/// Labels of a block that shows the code as it should be.
const AFTER: [&str; 8] =
    ["fixed", "corrected", "new", "after", "final", "improved", "updated", "solution"];

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked<'a> {
    /// The names of the functions and methods that one block has to define; any function if
    /// there are none.
    pub names: Vec<&'a str>,
    /// Whether the answer may also be one line as it is (`- `) and as it should be (`+ `).
    pub change: bool,
}

impl<'a> Asked<'a> {
    /// A method of this name.
    pub fn named(name: &'a str) -> Self {
        Asked { names: vec![name], change: false }
    }

    fn name(&self) -> String {
        self.names.first().copied().unwrap_or("the method").to_string()
    }
}

/// Code of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// The code, with `\n` line breaks.
    pub text: String,
    /// Where it is in the answer, as written.
    pub span: Range<usize>,
    /// Whether it is Python and defines what was asked for.
    pub found: bool,
    /// Whether its end is certain, so that a limit of tokens did not cut it.
    pub whole: bool,
}

/// Why there is no code to take, in words that a model can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMethod {
    /// The answer is empty.
    #[error("The answer is empty. Send the whole method, starting with `def {0}(`.")]
    Empty(String),
    /// The answer has words only.
    #[error(
        "No method was found. Send the whole method, starting with `def {0}(`, not only its body."
    )]
    NoCode(String),
    /// The answer has several blocks, and none is the method.
    #[error(
        "The answer has {count} code blocks and none defines `{wanted}`. Send one block with the whole method, starting with `def {wanted}(`."
    )]
    Undefined {
        /// The requested method.
        wanted: String,
        /// The number of blocks.
        count: usize,
    },
    /// The answer is a diff.
    #[error("The answer is a diff. Send the whole method instead, starting with `def {0}(`.")]
    Diff(String),
}

/// Extracts the code that was asked for. If no part of the answer is valid Python and
/// defines it, the likeliest part is returned, so that its errors can be shown.
///
/// If several blocks define the method, the last one counts that has no `...` in place of
/// a part and whose label is not of the kind "Before:".
///
/// # Errors
/// [`NoMethod`] if no part of the answer can be meant.
pub fn method(text: &str, asked: &Asked<'_>) -> Result<Code, NoMethod> {
    if text.trim_matches(is_space).is_empty() {
        return Err(NoMethod::Empty(asked.name()));
    }
    if let Some(code) = json(text, asked).or_else(|| plain(text, asked)) {
        return Ok(code);
    }
    let aware = blocks(text, Mode::Aware);
    let found = chosen(&aware, asked)
        .or_else(|| chosen(&blocks(text, Mode::Plain), asked))
        .or_else(|| rewritten(&aware, text, asked))
        .or_else(|| aware.iter().rev().find_map(|block| json_block(block, asked)))
        .or_else(|| by_layout(text, asked));
    found.map_or_else(|| likeliest(text, &aware, asked), Ok)
}

fn taken(block: &Block<'_>) -> Code {
    Code {
        text: block.code.clone(),
        span: block.span.clone(),
        found: true,
        whole: block.closed && block.doubt.is_none(),
    }
}

/// The whole answer, if it is nothing but code.
fn plain(text: &str, asked: &Asked<'_>) -> Option<Code> {
    let code: String = lines(text).iter().flat_map(|line| [line.text, "\n"]).collect();
    let code = code.trim_start_matches('\u{feff}').to_string();
    let found = (asked.change && is_change(&code)) || shape(&code, &asked.names).is_some();
    found.then_some(Code { text: code, span: 0..text.len(), found, whole: false })
}

/// The last block of the best rank.
fn chosen(blocks: &[Block<'_>], asked: &Asked<'_>) -> Option<Code> {
    let ranked = blocks.iter().filter_map(|block| Some((rank(block, asked)?, block)));
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, block)| taken(block))
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A part is missing.
    Elided,
    /// The code as it was.
    Before,
    Answer,
}

fn rank(block: &Block<'_>, asked: &Asked<'_>) -> Option<Rank> {
    if asked.change && is_change(&block.code) {
        return Some(Rank::Answer);
    }
    match shape(&block.code, &asked.names)? {
        Shape::Elided => Some(Rank::Elided),
        Shape::Whole if shows_the_past(block) => Some(Rank::Before),
        Shape::Whole => Some(Rank::Answer),
    }
}

/// Whether a block is labelled as the code before the answer.
fn shows_the_past(block: &Block<'_>) -> bool {
    let comment = block.code.lines().next().filter(|line| line.trim_start().starts_with('#'));
    [Some(block.label), comment].into_iter().flatten().any(|label| {
        let words: Vec<String> = label
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .take(LABEL_WORDS + 1)
            .map(str::to_lowercase)
            .collect();
        let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
        words.len() <= LABEL_WORDS && has(&BEFORE) && !has(&AFTER)
    })
}

/// Whether code is one line as it is and as it should be.
fn is_change(code: &str) -> bool {
    let lines: Vec<&str> =
        code.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    matches!(lines.as_slice(), [is, should] if is.starts_with('-') && should.starts_with('+'))
}

/// A block, or the whole text, that is Python without prompts, line numbers and the like.
fn rewritten(blocks: &[Block<'_>], text: &str, asked: &Asked<'_>) -> Option<Code> {
    let defines =
        |code: &str| rewrite::readings(code).find(|code| shape(code, &asked.names).is_some());
    let block = |block: &Block<'_>| Some(Code { text: defines(&block.code)?, ..taken(block) });
    blocks.iter().rev().find_map(block).or_else(|| {
        let code = defines(text).filter(|_| blocks.is_empty())?;
        Some(Code { text: code, span: 0..text.len(), found: true, whole: false })
    })
}

/// The code in a field of a JSON object.
fn json(text: &str, asked: &Asked<'_>) -> Option<Code> {
    let trimmed = text.trim_matches(is_space);
    if !trimmed.starts_with(['{', '[']) {
        return None;
    }
    let value: Value = serde_json::from_str(trimmed).ok()?;
    let code = field(&value, asked)?;
    Some(Code { text: code, span: 0..text.len(), found: true, whole: true })
}

fn json_block(block: &Block<'_>, asked: &Asked<'_>) -> Option<Code> {
    match block.kind {
        Kind::Json | Kind::Untagged => {
            let Code { text, .. } = json(&block.code, asked)?;
            Some(Code { text, ..taken(block) })
        }
        _ => None,
    }
}

/// The first string in a value that contains the method.
fn field(value: &Value, asked: &Asked<'_>) -> Option<String> {
    match value {
        // The strings of an object are not read as JSON again: that could go on for long.
        Value::String(text) => {
            let code = plain(text, asked)
                .or_else(|| chosen(&blocks(text, Mode::Aware), asked))
                .filter(|code| code.found)?;
            Some(code.text)
        }
        Value::Array(values) => values.iter().find_map(|value| field(value, asked)),
        Value::Object(fields) => {
            let known = FIELDS.iter().filter_map(|name| fields.get(*name));
            let known = known.filter(|value| value.is_string());
            known.chain(fields.values()).find_map(|value| field(value, asked))
        }
        _ => None,
    }
}

fn by_layout(text: &str, asked: &Asked<'_>) -> Option<Code> {
    let (text, span) = layout::function(text, &asked.names)?;
    Some(Code { text, span, found: true, whole: false })
}

/// What to show the errors of, if nothing is right.
fn likeliest(text: &str, blocks: &[Block<'_>], asked: &Asked<'_>) -> Result<Code, NoMethod> {
    let wrong = |block: &Block<'_>| {
        let code = taken(block);
        let whole = code.whole && blocks.last().is_some_and(|last| last.closed);
        Ok(Code { found: false, whole, ..code })
    };
    let is_change = |block: &&Block<'_>| block.code.trim_start().starts_with('-');
    if let Some(block) = blocks.iter().rev().find(is_change).filter(|_| asked.change) {
        return wrong(block);
    }
    let is_diff = |block: &Block<'_>| block.kind == Kind::Diff || is_diff(&block.code);
    let text_is_diff = blocks.is_empty() && self::is_diff(text) && !asked.change;
    if text_is_diff || blocks.iter().any(is_diff) {
        return Err(NoMethod::Diff(asked.name()));
    }
    let declares = |code: &str| code.lines().any(|line| layout::declares(line, &asked.names));
    let declaring = blocks.iter().rev().find(|block| declares(&block.code));
    match (declaring, blocks) {
        (Some(block), _) => wrong(block),
        (None, [block]) => wrong(block),
        (None, []) if declares(text) || asked.change || python::parses(text) => {
            Ok(Code { text: text.into(), span: 0..text.len(), found: false, whole: false })
        }
        (None, []) => Err(NoMethod::NoCode(asked.name())),
        (None, several) => {
            match several.iter().rev().find(|block| python::parses(&block.code)) {
                // Its name is wrong.
                Some(block) => wrong(block),
                None => Err(NoMethod::Undefined { wanted: asked.name(), count: several.len() }),
            }
        }
    }
}

fn is_diff(code: &str) -> bool {
    let lines = || code.lines().filter(|line| !line.trim().is_empty());
    let any = |start: &str| lines().any(|line| line.starts_with(start));
    any("@@ ")
        || (any("--- ") && any("+++ "))
        || (any("+") && any("-") && lines().all(|line| line.starts_with(['+', '-', ' '])))
}
