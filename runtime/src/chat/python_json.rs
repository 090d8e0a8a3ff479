//! JSON as Python's `json.dumps` writes it, because models were trained on that.

use std::fmt::Write;

use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, Value};

use super::python::{arguments, flag, whole};

/// How to write JSON.
struct Style {
    ensure_ascii: bool,
    indent: Option<String>,
    between: String,
    after_key: String,
    sort_keys: bool,
}

/// transformers' filter `tojson`: `json.dumps` that leaves non-ASCII text and HTML alone.
pub(super) fn tojson(value: &Value, options: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ensure_ascii, indent, separators, sort_keys] = arguments(&options.into_values(), names)?;
    let indent = match &indent {
        Some(text) if text.as_str().is_some() => text.as_str().map(String::from),
        spaces => whole(spaces)?.map(|spaces| " ".repeat(spaces.max(0) as usize)),
    };
    let pair = separators.map(|pair| pair.try_iter()?.checked().collect::<Result<Vec<_>, _>>());
    let pair = pair.transpose()?;
    let (between, after_key) = match pair.as_deref() {
        None => (if indent.is_some() { "," } else { ", " }.to_string(), ": ".to_string()),
        Some([between, after_key]) => (between.to_string(), after_key.to_string()),
        Some(_) => return Err(wrong("separators must be a pair".into())),
    };
    let style = Style {
        ensure_ascii: flag(ensure_ascii.as_ref()),
        indent,
        between,
        after_key,
        sort_keys: flag(sort_keys.as_ref()),
    };
    let mut text = String::new();
    style.write(value, 0, &mut text)?;
    Ok(Value::from_safe_string(text))
}

fn wrong(why: String) -> Error {
    Error::new(ErrorKind::BadSerialization, why)
}

impl Style {
    fn write(&self, value: &Value, depth: usize, text: &mut String) -> Result<(), Error> {
        match value.kind() {
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), text),
            ValueKind::None | ValueKind::Bool | ValueKind::Number => {
                text.push_str(&scalar(value));
                Ok(())
            }
            ValueKind::Map => {
                let mut keys = value.try_iter()?.checked().collect::<Result<Vec<_>, _>>()?;
                if self.sort_keys {
                    keys.sort();
                }
                self.items(depth, ['{', '}'], keys, text, |key, text| {
                    match key.as_str() {
                        Some(name) => self.string(name, text)?,
                        None => self.string(&scalar(key), text)?,
                    }
                    text.push_str(&self.after_key);
                    self.write(&value.get_item(key)?, depth + 1, text)
                })
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.checked().collect::<Result<Vec<_>, _>>()?;
                self.items(depth, ['[', ']'], items, text, |item, text| {
                    self.write(item, depth + 1, text)
                })
            }
            kind => Err(wrong(format!("tojson cannot write a value of type {kind}"))),
        }
    }

    fn items(
        &self,
        depth: usize,
        [open, close]: [char; 2],
        items: Vec<Value>,
        text: &mut String,
        write: impl Fn(&Value, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        text.push(open);
        for (at, item) in items.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { &self.between });
            self.line(depth + 1, text);
            write(item, text)?;
        }
        if !items.is_empty() {
            self.line(depth, text);
        }
        text.push(close);
        Ok(())
    }

    fn line(&self, depth: usize, text: &mut String) {
        if let Some(indent) = &self.indent {
            text.push('\n');
            text.push_str(&indent.repeat(depth));
        }
    }

    fn string(&self, string: &str, text: &mut String) -> Result<(), Error> {
        let quoted = serde_json::to_string(string).map_err(|why| wrong(why.to_string()))?;
        let mut units = [0; 2];
        for letter in quoted.chars() {
            if letter.is_ascii() || !self.ensure_ascii {
                text.push(letter);
                continue;
            }
            for unit in letter.encode_utf16(&mut units) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
        Ok(())
    }
}

fn scalar(value: &Value) -> String {
    match value.kind() {
        ValueKind::None => "null".into(),
        ValueKind::Bool if value.is_true() => "true".into(),
        ValueKind::Bool => "false".into(),
        _ if value.is_integer() => value.to_string(),
        _ => f64::try_from(value.clone()).map_or_else(|_| value.to_string(), float),
    }
}

/// A float as Python's `repr` writes it.
fn float(number: f64) -> String {
    if !number.is_finite() {
        let sign = if number < 0.0 { "-" } else { "" };
        return if number.is_nan() { "NaN".into() } else { format!("{sign}Infinity") };
    }
    let size = number.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    match text.split_once('e').map(|(digits, power)| (digits, power.parse::<i32>())) {
        Some((digits, Ok(power))) => format!("{digits}e{power:+03}"),
        _ => text,
    }
}
