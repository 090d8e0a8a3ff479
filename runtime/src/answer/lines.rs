//! Lines, and the white space of models.

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

pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{feff}' | '\u{200b}' | '\u{2060}')
}

pub(super) fn is_blank(line: &str) -> bool {
    line.chars().all(is_space)
}
