//! Calls that are written as JSON: `{"name": …, "arguments": {…}}` and its relatives.

use fixfly_runtime::{Repair, ToolSpec};
use serde_json::{Map, Value};

use super::arguments::ARGUMENTS;
use super::{Ending, Parsed, json, named, parsed_value};

/// Keys that hold the name of the tool.
const NAMES: [&str; 5] = ["name", "tool_name", "tool", "function", "action"];

/// The calls of a text that begins with JSON, and the bytes that they take. A list holds
/// several calls; so do objects that follow each other.
pub(super) fn calls_at(
    text: &str,
    tools: &[ToolSpec],
    ending: Ending,
) -> (Vec<Result<Parsed, String>>, usize) {
    let (mut calls, mut at) = (Vec::new(), 0);
    loop {
        let rest = text[at..].trim_start_matches(|c: char| c.is_whitespace() || c == ';');
        if !rest.starts_with(['{', '[']) {
            return (calls, at);
        }
        let start = text.len() - rest.len();
        match json::value_at(rest, ending) {
            Ok((value, length, repaired)) => {
                calls.extend(calls_of(value, tools, ending).into_iter().map(|call| {
                    call.map(|mut call| {
                        call.repaired.extend(&repaired);
                        call
                    })
                }));
                at = start + length;
            }
            Err(why) => {
                calls.push(Err(format!("the tool call is not JSON: {why}")));
                return (calls, text.len());
            }
        }
    }
}

/// The calls of one value.
fn calls_of(value: Value, tools: &[ToolSpec], ending: Ending) -> Vec<Result<Parsed, String>> {
    match value {
        Value::Array(values) => {
            values.into_iter().flat_map(|value| calls_of(value, tools, ending)).collect()
        }
        Value::Object(object) => vec![call_of(object, tools, ending)],
        _ => vec![Err("the tool call is not an object".into())],
    }
}

/// The call of one object.
fn call_of(
    mut object: Map<String, Value>,
    tools: &[ToolSpec],
    ending: Ending,
) -> Result<Parsed, String> {
    // OpenAI's own form: {"type": "function", "function": {"name": …, "arguments": …}}
    if let Some(Value::Object(function)) = object.get("function") {
        return call_of(function.clone(), tools, ending);
    }
    let key = NAMES.into_iter().find(|key| object.get(*key).is_some_and(Value::is_string));
    let Some(Value::String(name)) = key.and_then(|key| object.remove(key)) else {
        return keyed(object, tools, ending);
    };
    if let Some(arguments) = ARGUMENTS.into_iter().find_map(|key| object.remove(key)) {
        return parsed_value(&name, arguments, tools, ending);
    }
    object.retain(|key, _| !matches!(key.as_str(), "type" | "id"));
    let is_flat = !object.is_empty();
    let mut call = parsed_value(&name, Value::Object(object), tools, ending)?;
    call.repaired.extend(is_flat.then_some(Repair::Nesting));
    Ok(call)
}

/// `{"bash": {"command": …}}`: the name of a tool is the key of its arguments.
fn keyed(object: Map<String, Value>, tools: &[ToolSpec], ending: Ending) -> Result<Parsed, String> {
    let mut entries = object.into_iter();
    match (entries.next(), entries.next()) {
        (Some((name, arguments @ Value::Object(_))), None) if named::is_known(&name, tools) => {
            let mut call = parsed_value(&name, arguments, tools, ending)?;
            call.repaired.push(Repair::Nesting);
            Ok(call)
        }
        _ => Err("the tool call has no `name`".into()),
    }
}

/// Whether an object is a call of one of the tools beyond doubt: it has a name and arguments.
pub(super) fn is_call(value: &Value, tools: &[ToolSpec]) -> bool {
    match value {
        Value::Array(values) => {
            !values.is_empty() && values.iter().all(|value| is_call(value, tools))
        }
        Value::Object(object) => {
            let function = object.get("function").filter(|function| function.is_object());
            let object = function.and_then(Value::as_object).unwrap_or(object);
            let name = NAMES.into_iter().find_map(|key| object.get(key)?.as_str());
            name.is_some_and(|name| named::is_known(name, tools))
                && ARGUMENTS.into_iter().any(|key| object.contains_key(key))
        }
        _ => false,
    }
}
