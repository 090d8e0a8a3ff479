//! JSON as Python's `json.dumps` writes it, because models were trained on that.

use std::io::{self, Write};

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// The filter `tojson`: `json.dumps(value, ensure_ascii=False, indent=indent)`.
pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // Some templates pass it; non-ASCII text is never escaped here.
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let text = match indent {
        None => written(value, OneLine),
        Some(spaces) => {
            let indent = " ".repeat(spaces);
            written(value, PrettyFormatter::with_indent(indent.as_bytes()))
        }
    };
    let wrong = |error| Error::new(ErrorKind::BadSerialization, "no JSON").with_source(error);
    text.map(Value::from_safe_string).map_err(wrong)
}

fn written(value: &Value, format: impl Formatter) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, format))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `, ` between items and `: ` after keys.
struct OneLine;

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }
}
