//! A parsed text: its statements, its tokens, and the parts of a function.

use std::ops::Range;

use ruff_python_ast::token::{TokenKind, Tokens};
use ruff_python_ast::{ModModule, Stmt, StmtFunctionDef};
use ruff_python_parser::{ParseError, Parsed as Module, parse_module};
use ruff_text_size::{Ranged, TextRange, TextSize};

use super::lines::Lines;

/// A syntax error and its position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}: `{text}`")]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong, in words.
    pub message: String,
    /// The line's text without surrounding white space.
    pub text: String,
}

impl SyntaxError {
    fn new(text: &str, error: &ParseError) -> Self {
        let mut offset = bytes(error.range()).start.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let lines = Lines::of(text);
        let line = lines.number(offset);
        SyntaxError {
            line,
            column: text[lines.span(line).start..offset].chars().count() + 1,
            message: capitalised(&error.error.to_string()),
            text: lines.line(line).trim().to_string(),
        }
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(characters).collect()
}

/// A text that is valid Python.
pub(crate) struct Parsed<'t> {
    pub(crate) text: &'t str,
    module: Module<ModModule>,
}

impl<'t> Parsed<'t> {
    pub(crate) fn of(text: &'t str) -> Result<Self, SyntaxError> {
        let module = parse_module(text).map_err(|error| SyntaxError::new(text, &error))?;
        Ok(Parsed { text, module })
    }

    pub(crate) fn statements(&self) -> &[Stmt] {
        &self.module.syntax().body
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        self.module.tokens()
    }

    /// The string literals that contain a line break, outermost ones, in order.
    pub(super) fn strings(&self) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let (mut depth, mut start) = (0_usize, 0);
        for token in self.tokens() {
            let span = bytes(token.range());
            match token.kind() {
                TokenKind::FStringStart | TokenKind::TStringStart => {
                    if depth == 0 {
                        start = span.start;
                    }
                    depth += 1;
                }
                TokenKind::FStringEnd | TokenKind::TStringEnd => {
                    depth -= 1;
                    if depth == 0 {
                        found.push(start..span.end);
                    }
                }
                TokenKind::String if depth == 0 => found.push(span),
                _ => {}
            }
        }
        found.retain(|span| self.text[span.clone()].contains(['\n', '\r']));
        found
    }

    /// The function at the start of a text, after its decorators.
    pub(crate) fn function(&self) -> Option<Function<'_>> {
        match self.statements() {
            [Stmt::FunctionDef(def), ..] => Some(self.parts(def)),
            _ => None,
        }
    }

    /// The functions of a text that has nothing but functions; of another text, the one at its
    /// start.
    pub(super) fn functions(&self) -> Vec<&StmtFunctionDef> {
        let all = self.statements().iter().map(Stmt::as_function_def_stmt);
        let first = || self.statements().first().and_then(Stmt::as_function_def_stmt);
        all.collect::<Option<Vec<_>>>().unwrap_or_else(|| first().into_iter().collect())
    }

    /// The parts of a function in this text.
    pub(super) fn parts<'p>(&'p self, def: &'p StmtFunctionDef) -> Function<'p> {
        let after_decorators = def.decorator_list.last().map_or(def.start(), Ranged::end);
        let header = def.returns.as_deref().map_or(def.parameters.end(), Ranged::end);
        let keyword = |kind| matches!(kind, TokenKind::Def | TokenKind::Async);
        let docstring = def.body.first().and_then(docstring);
        let rest = &def.body[usize::from(docstring.is_some())..];
        let end = bytes(def.range()).end;
        Function {
            span: self.token_after(after_decorators, keyword).start..end,
            header_end: self.token_after(header, |kind| kind == TokenKind::Colon).end,
            docstring: docstring.map(|(span, _)| span),
            docstring_text: docstring_text(&def.body),
            body: rest.first().map_or(end, |first| bytes(first.range()).start)..end,
            statements: rest,
        }
    }

    fn token_after(&self, from: TextSize, wanted: impl Fn(TokenKind) -> bool) -> Range<usize> {
        let tokens = self.tokens().after(from);
        let token = tokens.iter().find(|token| wanted(token.kind()));
        token.map_or(usize::from(from)..usize::from(from), |token| bytes(token.range()))
    }
}

/// The byte spans of a function's parts.
pub(crate) struct Function<'p> {
    /// From `def` or `async` to the end of the last statement.
    pub(super) span: Range<usize>,
    /// Just after the colon that ends the declaration.
    pub(super) header_end: usize,
    /// The statement that is the docstring.
    pub(super) docstring: Option<Range<usize>>,
    /// The docstring's text, cleaned.
    pub(super) docstring_text: Option<String>,
    /// From the first statement after the docstring to the end; empty if there is none.
    pub(super) body: Range<usize>,
    /// The statements after the docstring.
    pub(crate) statements: &'p [Stmt],
}

/// Converts a range of the parser to a range of bytes.
pub(crate) fn bytes(range: TextRange) -> Range<usize> {
    range.start().into()..range.end().into()
}

/// The docstring at the start of a block, cleaned.
pub(super) fn docstring_text(body: &[Stmt]) -> Option<String> {
    body.first().and_then(docstring).map(|(_, text)| cleaned(&text))
}

fn docstring(statement: &Stmt) -> Option<(Range<usize>, String)> {
    let literal = statement.as_expr_stmt()?.value.as_string_literal_expr()?;
    Some((bytes(statement.range()), literal.value.to_str().to_string()))
}

/// Removes the indentation of a docstring, as `inspect.cleandoc` does.
fn cleaned(docstring: &str) -> String {
    let text = expand_tabs(&super::lines::unix(docstring));
    let width = |line: &&str| line.len() - line.trim_start().len();
    let rest = text.split('\n').skip(1).filter(|line| !line.trim().is_empty());
    let margin = rest.map(|line| width(&line)).min().unwrap_or(0);
    let mut lines: Vec<&str> = text
        .split('\n')
        .enumerate()
        .map(|(at, line)| match at {
            0 => line.trim_start(),
            _ => line.get(margin..).unwrap_or(""),
        })
        .collect();
    while lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    let blank = lines.iter().take_while(|line| line.trim().is_empty()).count();
    lines[blank..].join("\n")
}

fn expand_tabs(text: &str) -> String {
    let (mut out, mut column) = (String::with_capacity(text.len()), 0);
    for c in text.chars() {
        match c {
            '\t' => {
                let width = 8 - column % 8;
                out.extend(std::iter::repeat_n(' ', width));
                column += width;
            }
            '\n' => {
                out.push(c);
                column = 0;
            }
            _ => {
                out.push(c);
                column += 1;
            }
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn docstrings_are_cleaned_as_python_does() {
        #[track_caller]
        fn check(docstring: &str, expected: &str) {
            assert_eq!(cleaned(docstring), expected);
        }
        check("One line.", "One line.");
        check("  First.\n\n    Second.\n      Third.\n    ", "First.\n\nSecond.\n  Third.");
        check("\n    Only.\r\n    Two.\n\n", "Only.\nTwo.");
        check("First.\n\tTab.", "First.\nTab.");
        check("  \n  ", "");
    }

    #[test]
    fn only_strings_with_a_line_break_are_found() {
        let text = "a = 'x' + '''y\nz''' + f'''{\nf'''\n{1}'''}''' + 'p\\\nq'\n";
        let parsed = Parsed::of(text).unwrap();
        let found: Vec<_> = parsed.strings().into_iter().map(|span| &text[span]).collect();
        assert_eq!(found, ["'''y\nz'''", "f'''{\nf'''\n{1}'''}'''", "'p\\\nq'"]);
    }

    #[test]
    fn a_syntax_error_names_its_place() {
        let error = Parsed::of("x = 1\né = (2\n").err().unwrap();
        assert_eq!((error.line, error.text.as_str()), (3, ""));
        let error = Parsed::of("x = 1\r\n  é = = 2\r\n").err().unwrap();
        assert_eq!((error.line, error.column), (2, 1));
    }
}
