//! Removes comments, as the two variants of CodeBLEU do.

use super::tokens::{Kind, tokens};

/// Removes comments and docstrings, by Python's tokens; returns the text unchanged if it
/// cannot be tokenised. Strings that are statements, or at the start of a line, count as
/// docstrings.
pub(super) fn without_python(source: &str) -> String {
    let Some(tokens) = tokens(source) else { return source.to_string() };
    let mut out = String::new();
    let (mut last_line, mut last_column) = (None, 0);
    let mut previous = Kind::Indent;
    for token in &tokens {
        if last_line.is_none_or(|line| token.start.0 > line) {
            last_column = 0;
        }
        out.extend(std::iter::repeat_n(' ', token.start.1.saturating_sub(last_column)));
        let docstring = token.kind == Kind::String
            && (matches!(previous, Kind::Indent | Kind::Newline) || token.start.1 == 0);
        if token.kind != Kind::Comment && !docstring {
            out.push_str(&token.text);
        }
        previous = token.kind;
        (last_line, last_column) = (Some(token.end.0), token.end.1);
    }
    without_blank_lines(&out)
}

/// Replaces what Java's rules call comments with blanks.
pub(super) fn without_java(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(letter) = rest.chars().next() {
        let (taken, put) = match letter {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), " "),
            '/' if rest.starts_with("/*") => match rest[2..].find("*/") {
                Some(end) => (end + 4, " "),
                None => (1, "/"),
            },
            '"' | '\'' => {
                let taken = quoted(rest, letter).unwrap_or(1);
                (taken, &rest[..taken])
            }
            _ => (letter.len_utf8(), &rest[..letter.len_utf8()]),
        };
        out.push_str(put);
        rest = &rest[taken..];
    }
    without_blank_lines(&out)
}

/// The length of the string literal at the start of the text, which may span several lines.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => {
                letters.next()?;
            }
            letter if letter == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn without_blank_lines(text: &str) -> String {
    text.split('\n').filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_comments_and_docstrings_go() {
        #[track_caller]
        fn check(source: &str, expected: &str) {
            assert_eq!(without_python(source), expected);
        }
        check("def f():\n    '''Doc.'''\n    return 'a'  # why", "def f():\n    return 'a'  ");
        check(
            "def f():\n    x = 1\n    'note'\n\n    return x",
            "def f():\n    x = 1\n    return x",
        );
        check("x = (\n'a')", "x = (\n)");
        check("a = 1 + \\\n    2", "a = 1 +    2");
        check("def f(:\n  (", "def f(:\n  (");
    }

    #[test]
    fn javas_comments_go() {
        #[track_caller]
        fn check(source: &str, expected: &str) {
            assert_eq!(without_java(source), expected);
        }
        check("a // b\nc # d", "a  \nc # d");
        check("a /* b\n */ c /* d", "a   c /* d");
        check("'// it' \"/* */\"", "'// it' \"/* */\"");
        check("# it's\nb // c\n# it's\nd // e", "# it's\nb // c\n# it's\nd  ");
        check("'a\\' // b", "'a\\'  ");
    }
}
