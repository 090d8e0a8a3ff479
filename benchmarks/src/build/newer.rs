//! Finds syntax that a version of Python does not have.

use ruff_python_ast::PythonVersion;
use ruff_python_parser::{Mode, ParseOptions, parse_unchecked};
use ruff_text_size::Ranged;

/// Syntax of a newer Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Newer {
    /// The line, from 1.
    pub(super) line: usize,
    /// The first minor version of Python 3 that has it.
    pub(super) minor: u8,
    /// The line's text.
    pub(super) what: String,
}

/// The first syntax of a text that Python 3.`minor` does not have, but a newer version.
pub(super) fn newer_syntax(text: &str, minor: u8) -> Option<Newer> {
    let starts = |minor: u8| -> Vec<usize> {
        let version = PythonVersion { major: 3, minor };
        let options = ParseOptions::from(Mode::Module).with_target_version(version);
        let parsed = parse_unchecked(text, options);
        let errors = parsed.unsupported_syntax_errors().iter();
        errors.map(|error| usize::from(error.range().start())).collect()
    };
    let here = starts(minor);
    let versions = PythonVersion::iter().map(|version| version.minor);
    let newer: Vec<u8> = versions.filter(|version| *version > minor).collect();
    here.into_iter().find_map(|start| {
        let first = newer.iter().copied().find(|version| !starts(*version).contains(&start))?;
        let before = &text[..start];
        let line = before.matches('\n').count() + 1;
        let what = text.lines().nth(line - 1).unwrap_or_default().trim().to_string();
        Some(Newer { line, minor: first, what })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, minor: u8, expected: Option<(usize, u8)>) {
        let found = newer_syntax(text, minor);
        assert_eq!(found.map(|newer| (newer.line, newer.minor)), expected, "{text}");
    }

    #[test]
    fn the_line_and_the_version_are_found() {
        check("x = 1\n", 11, None);
        check("x = 1\ntype X = int\n", 11, Some((2, 12)));
        check("type X = int\n", 12, None);
        check("def f[T = int](): pass\n", 12, Some((1, 13)));
        check("x = f'{'a'}'\n", 11, Some((1, 12)));
        check("import a\nlazy import json\n", 11, Some((2, 15)));
        check("x = (\n", 11, None);
    }
}
