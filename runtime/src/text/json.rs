//! JSON as Python's `json` module writes it, which is more than JSON.

use std::borrow::Cow;

use serde_json::Value;

/// Stands for half of a surrogate pair (`\udcff`), which Rust's strings cannot hold. This
/// noncharacter is in no other text.
pub const LONE_SURROGATE: char = '\u{fdd0}';

/// Parses JSON, and what Python's `json` and pandas also write: `NaN`, `Infinity` and
/// numbers beyond an `f64` become null, control characters may be in strings, and lone
/// surrogates become [`LONE_SURROGATE`].
///
/// # Errors
/// [`serde_json::Error`] if it is not JSON even so.
pub fn parse_json(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|_| serde_json::from_str(&relaxed(text)))
}

/// Replaces lone surrogates by U+FFFD, in all strings and keys of a value.
pub fn replace_lone_surrogates(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(LONE_SURROGATE) => {
            *text = text.replace(LONE_SURROGATE, "\u{fffd}");
        }
        Value::Array(values) => values.iter_mut().for_each(replace_lone_surrogates),
        Value::Object(fields) => {
            fields.values_mut().for_each(replace_lone_surrogates);
            if fields.keys().any(|key| key.contains(LONE_SURROGATE)) {
                let renamed = std::mem::take(fields).into_iter();
                *fields = renamed
                    .map(|(key, value)| (key.replace(LONE_SURROGATE, "\u{fffd}"), value))
                    .collect();
            }
        }
        _ => {}
    }
}

/// The same text as strict JSON. Lengths are kept where possible, for the columns of errors.
fn relaxed(text: &str) -> String {
    let mut strict = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut inside = false;
    while let Some(first) = rest.chars().next() {
        let (length, piece) = match inside {
            true => in_string(rest, first),
            false => outside(rest, first),
        };
        inside ^= first == '"';
        strict += &piece;
        rest = &rest[length..];
    }
    strict
}

/// The length of the next piece of a string, and that piece as strict JSON.
fn in_string(rest: &str, first: char) -> (usize, Cow<'_, str>) {
    if first != '\\' {
        let length = first.len_utf8();
        let piece = match first < ' ' {
            true => Cow::Owned(format!("\\u{:04x}", first as u32)),
            false => Cow::Borrowed(&rest[..length]),
        };
        return (length, piece);
    }
    let Some(unit) = unit(rest) else {
        let length = rest.chars().take(2).map(char::len_utf8).sum();
        return (length, Cow::Borrowed(&rest[..length]));
    };
    let follows = rest.get(6..).and_then(self::unit);
    match (unit, follows) {
        (0xd800..=0xdbff, Some(0xdc00..=0xdfff)) => (12, Cow::Borrowed(&rest[..12])),
        (0xd800..=0xdfff, _) => (6, Cow::Owned(format!("\\u{:04x}", LONE_SURROGATE as u32))),
        _ => (6, Cow::Borrowed(&rest[..6])),
    }
}

/// The code unit of the escape at the start of a text: `\ud83d`.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

/// The length of the next piece outside of strings, and that piece as strict JSON.
fn outside(rest: &str, first: char) -> (usize, Cow<'_, str>) {
    for word in ["NaN", "Infinity", "-Infinity"] {
        if rest.starts_with(word) {
            return (word.len(), format!("{:width$}", "null", width = word.len()).into());
        }
    }
    let digits = rest.bytes().take_while(|byte| b"0123456789+-.eE".contains(byte)).count();
    if (first.is_ascii_digit() || first == '-') && digits > 0 {
        let is_beyond = rest[..digits].parse::<f64>().is_ok_and(f64::is_infinite);
        let piece = if is_beyond { "null" } else { &rest[..digits] };
        return (digits, piece.into());
    }
    (first.len_utf8(), Cow::Borrowed(&rest[..first.len_utf8()]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_python_writes_is_read() {
        let check = |text: &str, expected: Value| {
            assert_eq!(parse_json(text).unwrap(), expected, "{text}");
        };
        check(r#"{"a": 1}"#, json!({ "a": 1 }));
        check(r#"{"a": NaN, "b": [Infinity, -Infinity]}"#, json!({ "a": null, "b": [null, null] }));
        check(r#"[1e999, -1e999, 1e3, -2]"#, json!([null, null, 1000.0, -2]));
        check(r#"["NaN", "a\"NaN", NaN]"#, json!(["NaN", "a\"NaN", null]));
        check(r#"["2 \udcff."]"#, json!(["2 \u{fdd0}."]));
        check(
            r#"["\ud800", "\ud83d\udc1b\udc1b", "\ud83dx"]"#,
            json!(["\u{fdd0}", "\u{1f41b}\u{fdd0}", "\u{fdd0}x"]),
        );
        check(r#"["\\ud800", "\\\ud800"]"#, json!(["\\ud800", "\\\u{fdd0}"]));
        check("[\"a\tb\u{1b}\"]", json!(["a\tb\u{1b}"]));
        check(r#"{"\udc80": NaN}"#, json!({ "\u{fdd0}": null }));
        check(r#"["ä\udcff日本", NaN]"#, json!(["ä\u{fdd0}日本", null]));
    }

    #[test]
    fn what_is_no_json_is_an_error_at_its_column() {
        for text in ["", "{", "[NaN", "[\"\\ud8\"]", "[nan]", "NaNs", "[\"\\", "{'a': 1}"] {
            assert!(parse_json(text).is_err(), "{text}");
        }
        let column = |text: &str| parse_json(text).unwrap_err().column();
        assert_eq!(column(r#"["\udcff", x]"#), r#"["\udcff", x"#.len());
        assert_eq!(column("[Infinity, x]"), "[Infinity, x".len());
    }

    #[test]
    fn lone_surrogates_can_be_replaced() {
        let mut value =
            parse_json(r#"{"\udc80": ["\udcff", {"a": "x\ud800"}], "n": NaN}"#).unwrap();
        replace_lone_surrogates(&mut value);
        let expected = json!({ "\u{fffd}": ["\u{fffd}", { "a": "x\u{fffd}" }], "n": null });
        assert_eq!(value, expected);
    }
}
