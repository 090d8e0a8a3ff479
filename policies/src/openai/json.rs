//! JSON as Python's `json` and browsers accept it.

use std::iter::Peekable;
use std::str::CharIndices;

use serde_json::Value;

/// Surrogates that stand alone are kept here until the text is whole: a server may cut
/// a pair in two. No text uses these characters.
const HELD: u32 = 0x10_F800;

/// Parses JSON. Unlike `serde_json`, accepts `NaN`, `Infinity` and surrogates without
/// their other half; [`joined`] puts halves together.
pub(super) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text)
        .or_else(|error| serde_json::from_str(&standard(text)).map_err(|_| error))
}

/// The text with the halves of pairs put together; a half that is left becomes U+FFFD.
pub(super) fn joined(text: String) -> String {
    let held = |c: char| (c as u32).checked_sub(HELD).map(|at| at + 0xD800);
    if !text.chars().any(|c| held(c).is_some()) {
        return text;
    }
    let mut units = Vec::new();
    for c in text.chars() {
        match held(c) {
            Some(unit) => units.push(unit as u16),
            None => units.extend(c.encode_utf16(&mut [0; 2]).iter()),
        }
    }
    String::from_utf16_lossy(&units)
}

/// Rewrites what only other readers accept.
fn standard(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.char_indices().peekable();
    let mut in_string = false;
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => in_string = !in_string,
            '\\' if in_string => {
                escape(text, at, &mut chars, &mut out);
                continue;
            }
            'N' | 'I' | '-' if !in_string => {
                let words = ["NaN", "Infinity", "-Infinity"];
                if let Some(word) = words.iter().find(|word| text[at..].starts_with(**word)) {
                    out.push_str("null");
                    chars.nth(word.len() - 2);
                    continue;
                }
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

/// Copies the escape at `at`, whose backslash was read. Holds a lone surrogate back.
fn escape(text: &str, at: usize, chars: &mut Peekable<CharIndices<'_>>, out: &mut String) {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let (length, held) = match unit(at) {
        Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => (12, None),
        Some(lone @ 0xD800..=0xDFFF) => (6, char::from_u32(lone - 0xD800 + HELD)),
        Some(_) => (6, None),
        None => (1 + text[at + 1..].chars().next().map_or(0, char::len_utf8), None),
    };
    match held {
        Some(held) => out.push(held),
        None => out.push_str(&text[at..at + length]),
    }
    while chars.next_if(|(there, _)| *there < at + length).is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(parse(text).unwrap().to_string(), expected);
    }

    /// The values of Python's `json.loads`.
    #[test]
    fn json_is_read_as_python_reads_it() {
        check(r#"{"a": NaN, "b": [-Infinity, Infinity]}"#, r#"{"a":null,"b":[null,null]}"#);
        check(r#"["NaN", -1, "\"NaN", "\\", NaN]"#, r#"["NaN",-1,"\"NaN","\\",null]"#);
        check(r#"["\ud83d\ude00", NaN]"#, "[\"😀\",null]");
        check(r#"["é\n\u00e9", NaN]"#, "[\"é\\né\",null]");
        assert!(parse("{\"a\": Nan}").is_err());
        assert!(parse(r#"["\ud83d"#).is_err());
        assert!(parse("\"\\").is_err() && parse("\"\\é").is_err());
    }

    #[test]
    fn a_pair_that_is_cut_in_two_is_put_together() {
        let half = |text: &str| parse(text).unwrap().as_str().unwrap().to_string();
        let (first, second) = (half(r#""a\ud83d""#), half(r#""\ude00b""#));
        assert_eq!(joined(format!("{first}{second}")), "a😀b");
        assert_eq!(joined(first), "a\u{fffd}");
        assert_eq!(joined("a😀".into()), "a😀");
    }
}
