//! Calls that are written as XML: `<function=bash><parameter=command>…` as Qwen3-Coder's
//! template teaches, `<invoke name="bash"><parameter name="command">…`, and
//! `<arg_key>command</arg_key><arg_value>…` as GLM's.

use fixfly_runtime::{Repair, ToolSpec};
use serde_json::{Map, Value};

use super::{Ending, Parsed, arguments, json, named, parsed};

/// The longest tag that is read as one.
const MAX_TAG: usize = 200;

/// An opening tag.
#[derive(Debug, PartialEq)]
struct Tag<'a> {
    /// With its prefix, as the closing tag repeats it.
    element: &'a str,
    /// The value after `=`, or of the attribute `name`.
    name: &'a str,
    length: usize,
}

impl<'a> Tag<'a> {
    /// The opening tag at the start of `text`, if it names something.
    fn at(text: &'a str) -> Option<Tag<'a>> {
        let raw = text.strip_prefix('<')?;
        let raw = &raw[..raw.find('>').filter(|length| *length < MAX_TAG)?];
        if raw.contains(['\n', '<']) || raw.starts_with('/') {
            return None;
        }
        let split = raw.find(|c: char| c.is_whitespace() || c == '=')?;
        let (element, rest) = raw.split_at(split);
        let name = match rest.strip_prefix('=') {
            Some(name) => name.trim().trim_matches(['"', '\'']),
            None => {
                let value = rest.split_once("name=")?.1;
                let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
                value[1..].split(quote).next()?
            }
        };
        Some(Tag { element, name, length: raw.len() + 2 })
    }

    /// Its element without a prefix.
    fn local(&self) -> &'a str {
        self.element.rsplit([':', '｜', '|']).next().unwrap_or(self.element)
    }

    fn is_function(&self) -> bool {
        matches!(self.local(), "function" | "invoke")
    }

    fn is_parameter(&self) -> bool {
        matches!(self.local(), "parameter" | "param")
    }

    fn close(&self) -> String {
        format!("</{}>", self.element)
    }
}

/// Whether `text` begins with the opening tag of a call.
pub(super) fn is_function(text: &str) -> bool {
    Tag::at(text).is_some_and(|tag| tag.is_function())
}

/// The call of the element at the start of `text`, and the bytes that it takes.
pub(super) fn function_at(
    text: &str,
    tools: &[ToolSpec],
    ending: Ending,
) -> (Result<Parsed, String>, usize) {
    let Some(tag) = Tag::at(text).filter(Tag::is_function) else {
        return (Err("a tag is not closed".into()), 1);
    };
    let body = &text[tag.length..];
    let close = tag.close();
    let start = body.len() - body.trim_start().len();
    if body[start..].starts_with('{') {
        return json_body(&tag, body, tools, ending);
    }
    match values(body, &close, ending) {
        Err(why) => (Err(why), text.len()),
        Ok(Values { values, length, repaired }) => {
            let call = call(tag.name, values, tools, ending).map(|mut call| {
                call.repaired.extend(repaired);
                call
            });
            (call, tag.length + length)
        }
    }
}

/// `<function=bash>{"command": …}</function>`
fn json_body(
    tag: &Tag<'_>,
    body: &str,
    tools: &[ToolSpec],
    ending: Ending,
) -> (Result<Parsed, String>, usize) {
    let close = tag.close();
    // The JSON may contain the closing tag.
    let whole = json::value_at(body.trim_start(), Ending::CutOff).ok().map(|(_, length, _)| {
        let start = body.len() - body.trim_start().len();
        start + length
    });
    let from = whole.unwrap_or_default();
    match body[from..].find(&close) {
        Some(at) => {
            let end = from + at;
            (parsed(tag.name, &body[..end], tools, ending), tag.length + end + close.len())
        }
        None if whole.is_some() && ending == Ending::Whole => {
            let call = parsed(tag.name, &body[..from], tools, ending).map(|mut call| {
                call.repaired.push(Repair::MissingTag);
                call
            });
            (call, tag.length + from)
        }
        None => (Err(format!("`<{}` has no `{close}`", tag.element)), tag.length + body.len()),
    }
}

/// Values by the names of their parameters, as text.
struct Values<'a> {
    values: Vec<(&'a str, &'a str)>,
    length: usize,
    repaired: Vec<Repair>,
}

/// The parameters of a call, up to and including its closing tag.
fn values<'a>(body: &'a str, close: &str, ending: Ending) -> Result<Values<'a>, String> {
    let (mut values, mut at, mut repaired) = (Vec::new(), 0, Vec::new());
    loop {
        let rest = body[at..].trim_start();
        at = body.len() - rest.len();
        if rest.starts_with(close) {
            at += close.len();
            break;
        }
        if let Some(tag) = Tag::at(rest).filter(Tag::is_parameter) {
            let inside = &rest[tag.length..];
            let (length, taken) = match value_length(inside, &tag.close(), close) {
                Some(length) => (length, length + tag.close().len()),
                None if ending == Ending::Whole => {
                    let length = unclosed(inside, &tag, close).ok_or_else(|| no_close(&tag))?;
                    repaired.push(Repair::MissingTag);
                    (length, length)
                }
                None => return Err(no_close(&tag)),
            };
            values.push((tag.name, one_line_break_less(&inside[..length])));
            at += tag.length + taken;
            continue;
        }
        let is_over = rest.is_empty() || rest.starts_with("</") || rest.starts_with("<|");
        if !is_over || ending == Ending::CutOff {
            let found: String = rest.chars().take(40).collect();
            return Err(format!(
                "the tool call has `{found}` where a parameter or `{close}` is expected"
            ));
        }
        repaired.push(Repair::MissingTag);
        break;
    }
    Ok(Values { values, length: at, repaired })
}

fn no_close(tag: &Tag<'_>) -> String {
    format!("the parameter `{}` of the tool call has no `{}`", tag.name, tag.close())
}

/// The length of a value: up to the closing tag that the rest of a call follows. A value
/// may contain the same tag.
fn value_length(inside: &str, close: &str, function_close: &str) -> Option<usize> {
    inside.match_indices(close).map(|(at, _)| at).find(|at| {
        let after = inside[at + close.len()..].trim_start();
        after.is_empty()
            || after.starts_with(function_close)
            || after.starts_with("</tool_call>")
            || Tag::at(after).is_some_and(|tag| tag.is_parameter())
    })
}

/// The length of a value without a closing tag: up to the next parameter or the end.
fn unclosed(inside: &str, tag: &Tag<'_>, function_close: &str) -> Option<usize> {
    let next = format!("\n<{}", tag.element);
    [function_close, next.as_str()].iter().filter_map(|end| inside.find(end)).min()
}

/// The value without the line breaks that templates put around it.
fn one_line_break_less(value: &str) -> &str {
    let value = value.strip_prefix("\r\n").or(value.strip_prefix('\n')).unwrap_or(value);
    value.strip_suffix("\r\n").or(value.strip_suffix('\n')).unwrap_or(value)
}

/// A call with these values; they become what the tool's schema takes.
fn call(
    name: &str,
    values: Vec<(&str, &str)>,
    tools: &[ToolSpec],
    ending: Ending,
) -> Result<Parsed, String> {
    let spec = named::tool(name, tools).1;
    let mut args = Map::new();
    for (key, text) in values {
        let schema = spec.map(|spec| &spec.parameters["properties"][key]);
        let value = schema.and_then(|schema| arguments::converted(text, schema));
        let value = value.unwrap_or_else(|| Value::String(text.into()));
        if args.get(key).is_some_and(|other| *other != value) {
            return Err(format!("the tool call has two values of `{key}`"));
        }
        args.insert(key.into(), value);
    }
    parsed(name, &Value::Object(args).to_string(), tools, ending)
}

/// A call in GLM's form, without the tags around it: the name, then keys and values.
pub(super) fn pairs(
    text: &str,
    tools: &[ToolSpec],
    ending: Ending,
) -> Option<Result<Parsed, String>> {
    const TAGS: [&str; 4] = ["<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"];
    let (name, mut rest) = match text.find(TAGS[0]) {
        Some(at) => text.split_at(at),
        None if named::is_known(text, tools) => (text, ""),
        None => return None,
    };
    let name = name.trim();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    let mut values = Vec::new();
    while let Some(after) = rest.trim_start().strip_prefix(TAGS[0]) {
        let pair = after.split_once(TAGS[1]).and_then(|(key, after)| {
            let inside = after.trim_start().strip_prefix(TAGS[2])?;
            let is_end = |at: &usize| {
                let after = inside[at + TAGS[3].len()..].trim_start();
                after.is_empty() || after.starts_with(TAGS[0])
            };
            let at = inside.match_indices(TAGS[3]).map(|(at, _)| at).find(is_end)?;
            Some((key.trim(), &inside[..at], &inside[at + TAGS[3].len()..]))
        });
        let Some((key, value, after)) = pair else {
            return Some(Err(format!("the tool call has `{}` without `{}`", TAGS[0], TAGS[3])));
        };
        values.push((key, one_line_break_less(value)));
        rest = after;
    }
    if !rest.trim().is_empty() {
        return Some(Err(format!("the tool call has text where `{}` is expected", TAGS[0])));
    }
    Some(call(name, values, tools, ending))
}
