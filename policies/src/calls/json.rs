//! A reader of JSON that also accepts what models write in its place, and lists it.

use fixfly_runtime::Repair;
use serde_json::{Map, Number, Value};

use super::Ending;

/// Deeper values are refused, as `serde_json` does.
const MAX_DEPTH: usize = 100;

/// The value at the start of `text`, the bytes that it takes, and what was repaired. JSON
/// that needs no repair is read by `serde_json` alone.
pub(super) fn value_at(text: &str, ending: Ending) -> Result<(Value, usize, Vec<Repair>), String> {
    let mut strict = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    if let Some(Ok(value)) = strict.next() {
        let length = strict.byte_offset();
        one_value_each(&text[..length])?;
        return Ok((value, length, Vec::new()));
    }
    let mut parser = Parser { text, at: 0, ending, depth: 0, repaired: Vec::new() };
    let value = parser.value()?;
    Ok((value, parser.at, parser.repaired))
}

/// Refuses JSON in which a key has two values: `serde_json` keeps the last one in silence.
pub(super) fn one_value_each(text: &str) -> Result<(), String> {
    let ending = Ending::CutOff;
    let mut parser = Parser { text, at: 0, ending, depth: 0, repaired: Vec::new() };
    parser.value().map(|_| ())
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    ending: Ending,
    depth: usize,
    repaired: Vec<Repair>,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn space(&mut self) {
        let rest = self.rest();
        let words = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        self.at += rest.len() - words.len();
    }

    fn value(&mut self) -> Result<Value, String> {
        self.space();
        match self.peek() {
            Some('{') => self.nested(Parser::object),
            Some('[') => self.nested(Parser::array),
            Some('"' | '\'') => self.string().map(Value::String),
            Some(_) => self.word(),
            None => Err("the text ends where a value is expected".into()),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, String>) -> Result<Value, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("it is nested too deeply".into());
        }
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Value, String> {
        let mut map = Map::new();
        self.space();
        let mut more = !self.closes('}');
        while more {
            self.space();
            let key = self.key()?;
            self.space();
            match self.next() {
                Some(':') => {}
                other => return Err(unexpected(other, "`:`")),
            }
            let value = self.value()?;
            if map.get(&key).is_some_and(|other| *other != value) {
                return Err(format!("`{key}` has two values"));
            }
            map.insert(key, value);
            more = self.continues('}')?;
        }
        Ok(Value::Object(map))
    }

    fn array(&mut self) -> Result<Value, String> {
        let mut values = Vec::new();
        self.space();
        let mut more = !self.closes(']');
        while more {
            values.push(self.value()?);
            more = self.continues(']')?;
        }
        Ok(Value::Array(values))
    }

    fn closes(&mut self, close: char) -> bool {
        let closes = self.peek() == Some(close);
        self.at += usize::from(closes);
        closes
    }

    /// Whether another item follows.
    fn continues(&mut self, close: char) -> Result<bool, String> {
        self.space();
        match self.next() {
            Some(',') => {
                self.space();
                if self.closes(close) {
                    self.repaired.push(Repair::TrailingComma);
                    return Ok(false);
                }
                match self.peek() {
                    None => Err("the text ends after a comma".into()),
                    Some(_) => Ok(true),
                }
            }
            Some(next) if next == close => Ok(false),
            None if self.ending == Ending::Whole => {
                self.repaired.push(Repair::MissingBrace);
                Ok(false)
            }
            None => Err("the text is cut off".into()),
            other => Err(unexpected(other, &format!("`,` or `{close}`"))),
        }
    }

    fn key(&mut self) -> Result<String, String> {
        if matches!(self.peek(), Some('"' | '\'')) {
            return self.string();
        }
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let key = rest[..length].to_string();
        if key.is_empty() || key.starts_with(|c: char| c.is_numeric()) {
            return Err(unexpected(self.peek(), "a key in double quotes"));
        }
        self.at += length;
        self.repaired.push(Repair::UnquotedKey);
        Ok(key)
    }

    fn string(&mut self) -> Result<String, String> {
        let quote = if self.peek() == Some('\'') { '\'' } else { '"' };
        let triple: String = [quote; 3].iter().collect();
        let is_triple = self.rest().starts_with(&triple);
        self.at += if is_triple { 3 } else { 1 };
        if is_triple || quote == '\'' {
            self.repaired.push(Repair::PythonLiteral);
        }
        let mut string = String::new();
        loop {
            if is_triple && self.rest().starts_with(&triple) {
                self.at += 3;
                return Ok(string);
            }
            match self.next() {
                None => return Err("a string has no closing quote".into()),
                Some('\\') => string.push(self.escaped(quote)?),
                Some(next) if next == quote && !is_triple => return Ok(string),
                Some(next) => {
                    if next < ' ' && !is_triple {
                        self.repaired.push(Repair::RawControlCharacter);
                    }
                    string.push(next);
                }
            }
        }
    }

    fn escaped(&mut self, quote: char) -> Result<char, String> {
        Ok(match self.next() {
            Some(same @ ('"' | '\\' | '/')) => same,
            Some('\'') if quote == '\'' => '\'',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => self.unicode()?,
            Some(other) => {
                let other = other.escape_debug();
                return Err(format!(
                    "`\\{other}` is no escape of JSON; write `\\\\` for a backslash"
                ));
            }
            None => return Err("a string has no closing quote".into()),
        })
    }

    fn unicode(&mut self) -> Result<char, String> {
        let fault = || "`\\u` needs the four hexadecimal digits of a character".to_string();
        let first = self.hex().ok_or_else(fault)?;
        let units = match first {
            0xd800..0xdc00 if self.rest().starts_with("\\u") => {
                self.at += 2;
                vec![first, self.hex().ok_or_else(fault)?]
            }
            _ => vec![first],
        };
        let mut decoded = char::decode_utf16(units);
        match (decoded.next(), decoded.next()) {
            (Some(Ok(only)), None) => Ok(only),
            _ => Err(fault()),
        }
    }

    fn hex(&mut self) -> Option<u16> {
        let digits = self.rest().get(..4)?;
        let unit = u16::from_str_radix(digits, 16).ok()?;
        self.at += 4;
        Some(unit)
    }

    /// A number, or a constant of JSON or Python.
    fn word(&mut self) -> Result<Value, String> {
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
        let word = rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())].to_string();
        let python = match word.as_str() {
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            "None" => Some(Value::Null),
            _ => None,
        };
        let value = match (python, word.as_str()) {
            (Some(value), _) => {
                self.repaired.push(Repair::PythonLiteral);
                value
            }
            (None, "true") => Value::Bool(true),
            (None, "false") => Value::Bool(false),
            (None, "null") => Value::Null,
            (None, "") => return Err(unexpected(self.peek(), "a value")),
            (None, number) => Value::Number(number.parse::<Number>().map_err(|_| {
                format!("`{number}` is no value of JSON; text stands in double quotes")
            })?),
        };
        self.at += word.len();
        Ok(value)
    }
}

fn unexpected(found: Option<char>, expected: &str) -> String {
    match found {
        None => format!("the text ends where {expected} is expected"),
        Some(found) => {
            let found = found.escape_debug();
            format!(
                "`{found}` stands where {expected} is expected; inside a string, a quote is written `\\\"`"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(Value, &[Repair]), &str>) {
        match (value_at(text, Ending::Whole), expected) {
            (Ok((value, _, repaired)), Ok(expected)) => {
                assert_eq!((value, &repaired[..]), expected, "{text}");
            }
            (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
            (read, expected) => panic!("{text}: {read:?} is not {expected:?}"),
        }
    }

    #[test]
    fn values_are_read_as_json_or_as_the_one_thing_they_can_mean() {
        use Repair::*;
        check(
            "{\"a\": [1, 2.5e3, true, null]} rest",
            Ok((json!({ "a": [1, 2500.0, true, null] }), &[])),
        );
        check("{\"a\": 1,}", Ok((json!({ "a": 1 }), &[TrailingComma])));
        check("[1, 2,]", Ok((json!([1, 2]), &[TrailingComma])));
        check("{'a': 'it\\'s'}", Ok((json!({ "a": "it's" }), &[PythonLiteral, PythonLiteral])));
        check(
            "{\"a\": True, \"b\": None}",
            Ok((json!({ "a": true, "b": null }), &[PythonLiteral, PythonLiteral])),
        );
        check("{\"a\": \"x\ny\"}", Ok((json!({ "a": "x\ny" }), &[RawControlCharacter])));
        check(
            "{\"a\": \"\"\"x \"y\"\n\"\"\"}",
            Ok((json!({ "a": "x \"y\"\n" }), &[PythonLiteral])),
        );
        check("{a: 1}", Ok((json!({ "a": 1 }), &[UnquotedKey])));
        check("{\"a\": [1", Ok((json!({ "a": [1] }), &[MissingBrace, MissingBrace])));
        check(
            "{'a': '\\u00e9\\ud83d\\ude00'}",
            Ok((json!({ "a": "é😀" }), &[PythonLiteral, PythonLiteral])),
        );
        check("{\"a\": \"x", Err("no closing quote"));
        check("{\"a\": 1,", Err("ends after a comma"));
        check("{\"a\":", Err("ends where a value"));
        check("{", Err("ends where"));
        check("{\"a\": \"b\"c\"}", Err("a quote is written"));
        check("{'a': 'it's'}", Err("where `,` or `}` is expected"));
        check("{\"a\": \"\\d\"\n, 'b': 1}", Err("no escape of JSON"));
        check("{\"a\": ls}", Err("double quotes"));
        check("{\"a\": NaN}", Err("no value of JSON"));
        check("{'a': 1, 'a': 2}", Err("two values"));
        check("{\"a\": 1, \"a\": 2}", Err("two values"));
        check("[{\"b\": {\"a\": 1, \"a\": [1]}}]", Err("`a` has two values"));
        check("{\"a\": 1, \"a\": 1}", Ok((json!({ "a": 1 }), &[])));
        check(
            "{\"a\": \"\\u0000\\/\", \"b\": -0.5E+3}",
            Ok((json!({ "a": "\0/", "b": -500.0 }), &[])),
        );
        check("{'a': '\\ud800'}", Err("hexadecimal"));
        check(&"[".repeat(100_000), Err("too deeply"));
    }

    #[test]
    fn what_a_limit_cut_off_is_not_completed() {
        assert!(value_at("{\"a\": 1", Ending::CutOff).is_err());
        assert!(value_at("{\"a\": 1}", Ending::CutOff).is_ok());
    }
}
