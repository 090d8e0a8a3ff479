//! Cuts a method out of its file and puts another in its place.

use std::ops::Range;

use super::lines::{self, Lines};
use super::method::MethodDef;
use super::parsed::{Parsed, SyntaxError};

/// One level of indentation where a method does not show its own.
const STEP: &str = "    ";

/// The file as a policy sees it: without the method, its decorators and the
/// comments that end it, and with no more blank lines than its neighbours had.
/// Where nothing else would be left in the block, `...` takes its place.
pub fn removed(text: &str, method: &MethodDef) -> String {
    let lines = Lines::of(text);
    let mut first = method.first_line;
    let mut next = lines.number(method.span.end.saturating_sub(1)) + 1;
    while next <= lines.count() && is_deeper_comment(lines.line(next), &method.indent) {
        next += 1;
    }
    let placeholder = match method.alone {
        true => format!("{}...{}", method.indent, lines::line_break(text)),
        false => {
            let is_blank = |&number: &usize| lines::is_blank(lines.line(number));
            let above = (1..first).rev().take_while(is_blank).count();
            let below = (next..=lines.count()).take_while(is_blank).count();
            // Blank lines below belong to what ends the block, those above to
            // what continues it.
            match (next + below..=lines.count()).next().map(|number| lines.line(number)) {
                Some(line) if line.starts_with(&method.indent) => next += below,
                _ => first -= above,
            }
            String::new()
        }
    };
    let rest = if next <= lines.count() { lines.span(next).start } else { text.len() };
    format!("{}{placeholder}{}", &text[..lines.span(first).start], &text[rest..])
}

fn is_deeper_comment(line: &str, indent: &str) -> bool {
    let own = lines::indent_of(line);
    line[own.len()..].starts_with('#') && own.len() > indent.len()
}

/// The file with `source`, a dedented function, in place of the method.
/// Decorators stay. Every other byte stays, and so does what strings hold.
pub fn spliced(text: &str, method: &MethodDef, source: &str) -> String {
    // A continuation line indented less than its method loses its place when
    // dedented; the method's own source must still give the very same file.
    if source == source_of(text, method) {
        return text.to_string();
    }
    let strings = Parsed::of(source).map(|parsed| parsed.strings()).unwrap_or_default();
    let source = lines::indented(source.trim_end(), &method.indent, &strings);
    let source = lines::unix(&source).replace('\n', lines::line_break(text));
    let source = source.strip_prefix(&method.indent).unwrap_or(&source);
    format!("{}{source}{}", &text[..method.span.start], &text[method.span.end..])
}

/// The method dedented, without decorators; what strings hold is not changed.
pub fn source_of(text: &str, method: &MethodDef) -> String {
    dedented(&text[method.span.clone()], &method.indent)
}

fn dedented(fragment: &str, indent: &str) -> String {
    // A function whose first line alone is dedented still parses.
    let strings = Parsed::of(fragment).map(|parsed| parsed.strings()).unwrap_or_default();
    lines::unix(&lines::dedented(fragment, indent, &strings))
}

/// The method dedented, with `raise NotImplementedError` for a body: its
/// declaration and docstring stay.
pub fn stub(text: &str, method: &MethodDef) -> String {
    let mut step = STEP.to_string();
    let mut docstring = String::new();
    if let Some(span) = &method.docstring_span {
        if let Some(own) = own_step(text, span.start, &method.indent) {
            step = own;
        }
        docstring = format!("{step}{}\n", lines::unix(&text[span.clone()]));
    }
    format!("{}\n{docstring}{step}raise NotImplementedError\n", method.declaration)
}

/// What the line at `offset` is indented by within its function, if it starts there.
fn own_step(text: &str, offset: usize, indent: &str) -> Option<String> {
    let own = &text[Lines::of(text).start(offset)..offset];
    (lines::indent_of(own) == own).then(|| own.strip_prefix(indent)).flatten().map(String::from)
}

/// The function `source` made to fail whenever it would end: its body runs and
/// then an assertion fails. What still passes did not come from the function.
///
/// # Errors
/// [`SyntaxError`] where `source` is not Python.
pub fn sabotaged(source: &str) -> Result<String, SyntaxError> {
    let parsed = Parsed::of(source)?;
    let Some(function) = parsed.function() else { return Ok(source.to_string()) };
    let first = function.docstring.clone().unwrap_or_else(|| function.body.clone());
    let own = own_step(source, first.start, "").filter(|own| !own.is_empty());
    let step = own.as_deref().unwrap_or(STEP);
    let docstring = function.docstring.map(|span| format!("{step}{}\n", &source[span]));
    let body = match function.body.is_empty() {
        true => format!("{step}{step}pass\n"),
        false => deeper(&parsed, &function.body, step),
    };
    Ok(format!(
        "{}\n{}{step}try:\n{body}{step}finally:\n{step}{step}raise AssertionError(\"fixfly sabotage control\")\n",
        &source[function.span.start..function.header_end],
        docstring.unwrap_or_default(),
    ))
}

/// The body of a function, one step deeper.
fn deeper(parsed: &Parsed<'_>, body: &Range<usize>, step: &str) -> String {
    let strings: Vec<_> = (parsed.strings().into_iter())
        .filter(|string| body.start <= string.start)
        .map(|string| string.start - body.start..string.end - body.start)
        .collect();
    let rest = parsed.text[body.start..].trim_end();
    // The first line's own indentation lies before the body.
    format!("{step}{}\n", lines::indented(rest, step, &strings))
}
