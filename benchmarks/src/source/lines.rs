//! Lines of a text, and shifting them without touching strings.

use std::ops::Range;

/// Where each line starts. A line ends with `\n`, `\r\n` or `\r`, as in Python.
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let ends = bytes.iter().enumerate().filter(|&(at, byte)| match byte {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        });
        Lines { text, starts: std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect() }
    }

    /// The 1-based number of the line that holds the byte at `offset`.
    pub(super) fn number(&self, offset: usize) -> usize {
        self.starts.partition_point(|&start| start <= offset)
    }

    /// The number of lines. Text that ends with a line break has another, empty line.
    pub(super) fn count(&self) -> usize {
        self.starts.len()
    }

    /// The bytes of a line, with its line break.
    pub(super) fn span(&self, number: usize) -> Range<usize> {
        let end = self.starts.get(number).copied().unwrap_or(self.text.len());
        self.starts[number - 1]..end
    }

    /// A line without its line break.
    pub(super) fn line(&self, number: usize) -> &'t str {
        self.text[self.span(number)].trim_end_matches(['\n', '\r'])
    }

    /// The start of the line that contains `offset`.
    pub(super) fn start(&self, offset: usize) -> usize {
        self.span(self.number(offset)).start
    }
}

/// Whether a line contains only white space.
pub(super) fn is_blank(line: &str) -> bool {
    line.chars().all(|c| matches!(c, ' ' | '\t' | '\x0c' | '\n' | '\r'))
}

/// The white space at the start of a line.
pub(super) fn indent_of(line: &str) -> &str {
    &line[..line.len() - line.trim_start_matches([' ', '\t', '\x0c']).len()]
}

/// The line break of a text: that of its first line.
pub(super) fn line_break(text: &str) -> &'static str {
    match text.find(['\n', '\r']) {
        Some(at) if text[at..].starts_with("\r\n") => "\r\n",
        Some(at) if text[at..].starts_with('\r') => "\r",
        _ => "\n",
    }
}

/// Writes every line break of `text` as `\n`.
pub(super) fn unix(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// Removes `indent` from the lines that start with it.
pub(super) fn dedented(text: &str, indent: &str, strings: &[Range<usize>]) -> String {
    shifted(text, strings, |line, out| out.push_str(line.strip_prefix(indent).unwrap_or(line)))
}

/// Adds `indent` before every line.
pub(super) fn indented(text: &str, indent: &str, strings: &[Range<usize>]) -> String {
    shifted(text, strings, |line, out| {
        out.push_str(indent);
        out.push_str(line);
    })
}

/// Changes the start of lines, except of blank lines and of those that start inside one of
/// `strings`: their white space is part of a value. A form feed counts as the start of a
/// line, because indentation is measured from it.
fn shifted(text: &str, strings: &[Range<usize>], shift: impl Fn(&str, &mut String)) -> String {
    let lines = Lines::of(text);
    let mut out = String::with_capacity(text.len());
    for number in 1..=lines.count() {
        let span = lines.span(number);
        let line = &text[span.clone()];
        if is_blank(line) || is_inside(strings, span.start) {
            out.push_str(line);
            continue;
        }
        let indent = indent_of(line);
        let feed = indent.rfind('\x0c').map_or(0, |at| at + 1);
        out.push_str(&line[..feed]);
        shift(&line[feed..], &mut out);
    }
    out
}

/// Whether `offset` is inside one of the sorted `ranges`, not at its ends.
pub(super) fn is_inside(ranges: &[Range<usize>], offset: usize) -> bool {
    let next = ranges.partition_point(|range| range.start < offset);
    next > 0 && offset < ranges[next - 1].end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let lines = Lines::of(text);
        let found: Vec<_> = (1..=lines.count()).map(|number| lines.line(number)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn any_line_break_ends_a_line() {
        check("", &[""]);
        check("a\nb", &["a", "b"]);
        check("a\r\nb\r\n", &["a", "b", ""]);
        check("a\rb\n\rc", &["a", "b", "", "c"]);
    }

    #[test]
    fn lines_are_numbered_from_one() {
        let lines = Lines::of("é\nb\n");
        assert_eq!([0, 2, 3, 4, 5].map(|offset| lines.number(offset)), [1, 1, 2, 2, 3]);
    }

    #[test]
    fn strings_and_blank_lines_stay() {
        let text = "    a = '''\n    b'''\n\n  (c\n\x0c    d)";
        let strings = [8..20, 20..21];
        let expected = "a = '''\n    b'''\n\n  (c\n\x0cd)";
        assert_eq!(dedented(text, "    ", &strings), expected);
        assert_eq!(indented("a\n\n \nb\n", "  ", &[]), "  a\n\n \n  b\n");
    }
}
