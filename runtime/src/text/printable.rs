//! Escapes what a terminal would act on, or what would hide or reorder text.

use std::borrow::Cow;

/// The styles that fixfly prints, as parameters of `ESC [ … m`.
const STYLES: [&str; 12] = ["", "0", "1", "2", "3", "4", "22", "31", "32", "33", "36", "1;36"];

/// The text with control characters (except line feeds and tabs), bidirectional controls
/// and invisible characters escaped as in JSON: `\u001b`. JSON stays valid JSON.
///
/// ```
/// assert_eq!(fixfly_runtime::printable("\u{1b}[2Jä\n"), "\\u001b[2Jä\n");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    match text.contains(is_unprintable) {
        true => Cow::Owned(escaped(text, |_| None)),
        false => Cow::Borrowed(text),
    }
}

/// The same, but keeps colours and other styles that fixfly itself uses. If you add a
/// style to foreign text, escape that text first, with [`printable`].
pub fn printable_styled(text: &str) -> Cow<'_, str> {
    match text.contains(is_unprintable) {
        true => Cow::Owned(escaped(text, style)),
        false => Cow::Borrowed(text),
    }
}

/// The text in pieces, in order: text that can be shown as it is, and, with `true`, what
/// [`printable`] escapes. For readers that mark what is escaped.
///
/// ```
/// let pieces = fixfly_runtime::printable_pieces("a\u{1b}\u{7}b");
/// let pieces: Vec<(&str, bool)> = pieces.iter().map(|(text, escaped)| (&**text, *escaped)).collect();
/// assert_eq!(pieces, [("a", false), ("\\u001b\\u0007", true), ("b", false)]);
/// ```
pub fn printable_pieces(text: &str) -> Vec<(Cow<'_, str>, bool)> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let unprintable = is_unprintable(first);
        let end = rest.find(|c| is_unprintable(c) != unprintable).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        pieces
            .push((if unprintable { printable(piece) } else { Cow::Borrowed(piece) }, unprintable));
        rest = after;
    }
    pieces
}

/// Zero-width joiners stay: scripts and emoji need them.
fn is_unprintable(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}' => {
            true
        }
        '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}' => true,
        '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

/// Escapes a text, except the sequences whose length `kept` returns.
fn escaped(text: &str, kept: impl Fn(&str) -> Option<usize>) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = kept(rest).unwrap_or(0);
        if length > 0 {
            safe += &rest[..length];
        } else if is_unprintable(first) {
            let units = &mut [0; 2];
            for unit in first.encode_utf16(units) {
                safe += &format!("\\u{unit:04x}");
            }
        } else {
            safe.push(first);
        }
        rest = &rest[length.max(first.len_utf8())..];
    }
    safe
}

/// The length of the style at the start of a text.
fn style(text: &str) -> Option<usize> {
    let (parameters, _) = text.strip_prefix("\u{1b}[")?.split_once('m')?;
    STYLES.contains(&parameters).then_some(parameters.len() + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        let check = |text: &str, expected: &str| {
            assert_eq!(printable(text), expected, "{text:?}");
            assert_eq!(printable_styled(text), expected, "{text:?}");
            assert_eq!(printable(expected), expected);
        };
        check("plain\n\ttext — ä 日本 🐛", "plain\n\ttext — ä 日本 🐛");
        check("no \u{1b}]52;c;eA==\u{7}", "no \\u001b]52;c;eA==\\u0007");
        check("\u{1b}[2K\rALL PASSED", "\\u001b[2K\\u000dALL PASSED");
        check("\u{9b}31m \u{9d}0;x\u{9c} \u{85}", "\\u009b31m \\u009d0;x\\u009c \\u0085");
        check("a\u{8}\u{7f}\u{b}\u{c}\0", "a\\u0008\\u007f\\u000b\\u000c\\u0000");
        check("\u{202e}gpj\u{2069}\u{200f}\u{61c}", "\\u202egpj\\u2069\\u200f\\u061c");
        check("a\u{200b}b\u{feff}c\u{2060}\u{ad}", "a\\u200bb\\ufeffc\\u2060\\u00ad");
        check("\u{2028}\u{2029}\u{e0041}", "\\u2028\\u2029\\udb40\\udc41");
        check("👩\u{200d}🚀 क्\u{200d}ष", "👩\u{200d}🚀 क्\u{200d}ष");
        check("\u{1b}[8m\u{1b}[5;31m", "\\u001b[8m\\u001b[5;31m");
    }

    #[test]
    fn pieces_add_up_to_the_escaped_text() {
        for text in ["", "plain", "\0", "a\u{202e}b\u{1b}]52;c;\u{7}", "\u{feff}\u{feff}x\n"] {
            let pieces = printable_pieces(text);
            let whole: String = pieces.iter().map(|(piece, _)| &**piece).collect();
            assert_eq!(whole, printable(text));
            assert!(pieces.windows(2).all(|pair| pair[0].1 != pair[1].1), "{pieces:?}");
        }
    }

    #[test]
    fn only_known_styles_stay() {
        let check = |text: &str, expected: &str| assert_eq!(printable_styled(text), expected);
        check("\u{1b}[32m+ x\u{1b}[0m", "\u{1b}[32m+ x\u{1b}[0m");
        check("\u{1b}[1;36muser\u{1b}[0m", "\u{1b}[1;36muser\u{1b}[0m");
        check("\u{1b}[8mhidden", "\\u001b[8mhidden");
        check("\u{1b}[", "\\u001b[");
        check("\u{1b}[32", "\\u001b[32");
        check("\u{1b}[2Jm", "\\u001b[2Jm");
        assert_eq!(printable("\u{1b}[32mx"), "\\u001b[32mx");
    }

    #[test]
    fn json_stays_json() {
        let value = serde_json::json!({ "a\u{9b}": "\u{1b}[2J\u{7f}\u{202e}\\\u{e0041}\"" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = printable(&text);
        assert!(!shown.contains(is_unprintable), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
