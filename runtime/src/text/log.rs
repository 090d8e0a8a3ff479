//! Lines of a log.

use super::printable::printable;

/// A log event: its level coloured, its further lines indented, so that no text from
/// elsewhere looks like an event of its own.
pub fn log_event(text: &str, color: bool) -> String {
    let lines = printable(text.strip_suffix('\n').unwrap_or(text)).replace('\n', "\n       ");
    let levels =
        [("ERROR", "31"), (" WARN", "33"), (" INFO", "32"), ("DEBUG", "36"), ("TRACE", "2")];
    let level = levels.iter().find(|(level, _)| color && lines.starts_with(level));
    match level {
        Some((level, code)) => format!("\u{1b}[{code}m{level}\u{1b}[0m{}\n", &lines[level.len()..]),
        None => lines + "\n",
    }
}

/// Joins the lines of a message.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_escaped_indented_and_coloured() {
        let check = |text: &str, color: bool, expected: &str| {
            assert_eq!(log_event(text, color), expected);
        };
        check(" WARN it broke\n", false, " WARN it broke\n");
        check(" WARN it broke\n", true, "\u{1b}[33m WARN\u{1b}[0m it broke\n");
        check(
            "ERROR a\r\u{1b}[2K\nERROR b\n",
            true,
            "\u{1b}[31mERROR\u{1b}[0m a\\u000d\\u001b[2K\n       ERROR b\n",
        );
        check("\u{1b}[31mERROR", true, "\\u001b[31mERROR\n");
    }
}
