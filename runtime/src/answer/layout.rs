//! Finds a function in words without fences, by the layout of its lines.

use std::ops::Range;

use super::lines::{Line, is_blank, is_invisible, is_space, lines};
use super::opening::opening;
use super::python::{Strings, shape};

/// How many functions that do not end are read to the end of the text.
const MAX_UNENDED: usize = 4;

/// Words that begin a line of a function's body, so that a function is not whole if one
/// follows it.
const BODY: [&str; 14] = [
    "return", "yield", "raise", "if", "elif", "else", "for", "while", "try", "except", "finally",
    "with", "break", "continue",
];

/// The lines of a function.
struct Found {
    lines: Range<usize>,
    indent: usize,
}

/// The last whole function of these names, with the imports and definitions right before it if
/// all of that is Python, or if it takes both to define all names. Returns the code and its span.
pub(super) fn function(text: &str, names: &[&str]) -> Option<(String, Range<usize>)> {
    let lines = lines(text);
    let found = functions(&lines, names);
    let code = |range: Range<usize>| -> String {
        lines[range].iter().flat_map(|line| [line.text.trim_matches(is_invisible), "\n"]).collect()
    };
    let span = |range: &Range<usize>| {
        let end = lines.get(range.end).map_or(text.len(), |line| line.start);
        lines[range.start].start..end
    };
    let around = |found: &Found| first_code(&lines, found.lines.start)..found.lines.end;
    let defines = |range: Range<usize>| shape(&code(range), names).is_some();
    let whole = |found: &&Found| {
        let several = names.len() > 1 && found.indent == 0;
        let range = if several { around(found) } else { found.lines.clone() };
        !goes_on(&lines, found.lines.end) && defines(range)
    };
    let last = found.iter().rev().find(whole)?;
    let taken = match last.indent == 0 && defines(around(last)) {
        true => around(last),
        false => last.lines.clone(),
    };
    Some((code(taken.clone()), span(&taken)))
}

/// Whether a line begins with the declaration of a function of these names, or of any if there
/// are none.
pub(super) fn declares(line: &str, names: &[&str]) -> bool {
    let line = line.trim_start_matches(is_space);
    let line = line.strip_prefix("async").map_or(line, str::trim_start);
    let Some(rest) = line.strip_prefix("def").filter(|rest| rest.starts_with([' ', '\t'])) else {
        return false;
    };
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    end > 0 && (names.is_empty() || names.contains(&&rest[..end]))
}

/// The functions of these names, none inside another.
fn functions(lines: &[Line<'_>], names: &[&str]) -> Vec<Found> {
    let (mut found, mut unended, mut at) = (Vec::new(), 0, 0);
    while at < lines.len() && unended < MAX_UNENDED {
        if !declares(lines[at].text, names) {
            at += 1;
            continue;
        }
        match end(lines, at) {
            Some(end) => {
                found.push(Found { lines: at..end, indent: indent(lines[at].text) });
                at = end;
            }
            None => {
                unended += 1;
                at += 1;
            }
        }
    }
    found
}

/// The line after the function that line `start` declares; `None` if a string or a bracket
/// is still open at the end of the text.
fn end(lines: &[Line<'_>], start: usize) -> Option<usize> {
    let (mut strings, mut depth) = (Strings::default(), 0_usize);
    let mut end = start;
    for (number, line) in lines.iter().enumerate().skip(start) {
        let inside = strings.is_open() || depth > 0;
        let is_next = !inside && number > start && !is_blank(line.text);
        let is_outside = || indent(line.text) <= indent(lines[start].text);
        if is_next && (is_outside() || opening(line.text).is_some()) {
            return Some(end);
        }
        strings.each(line.text, |_, byte| match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        });
        if inside || !is_blank(line.text) {
            end = number + 1;
        }
    }
    (!strings.is_open() && depth == 0).then_some(end)
}

/// Whether the next line looks as if it were part of the body.
fn goes_on(lines: &[Line<'_>], end: usize) -> bool {
    let next = lines[end..].iter().map(|line| line.text.trim()).find(|line| !line.is_empty());
    next.is_some_and(|line| {
        let word = line.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        let parses = || ruff_python_parser::parse_module(line).is_ok();
        BODY.contains(&word) && line.len() < 1000 && (line.ends_with(':') || parses())
    })
}

/// The first line of the code that ends before line `end`: an import, a decorator, a
/// definition.
fn first_code(lines: &[Line<'_>], end: usize) -> usize {
    let starts = |line: &Line<'_>| {
        let words = ["import ", "from ", "@", "class ", "def ", "async def "];
        words.iter().any(|word| line.text.starts_with(word))
    };
    lines[..end].iter().position(starts).unwrap_or(end)
}

fn indent(line: &str) -> usize {
    line.chars().filter(|c| !is_invisible(*c)).take_while(|c| c.is_whitespace()).count()
}
