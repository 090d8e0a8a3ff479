//! The arguments of a call: an object, whatever surrounds it.

use fixfly_runtime::{Repair, ToolSpec};
use serde_json::{Map, Value, json};

use super::{Ending, json, named};

type Object = Map<String, Value>;

/// Layers of quotes and fences around an object.
const MAX_LAYERS: usize = 4;
/// Keys that hold the name of a tool, where a call stands in place of its arguments.
const NAMES: [&str; 4] = ["name", "tool", "tool_name", "function"];
/// Keys that hold the arguments there.
pub(super) const ARGUMENTS: [&str; 8] = [
    "arguments",
    "parameters",
    "args",
    "input",
    "kwargs",
    "tool_input",
    "tool_arguments",
    "action_input",
];

/// Reads the arguments of a call of `spec`. An error continues a sentence that begins with
/// "the arguments of the call".
pub(super) fn read(
    text: &str,
    spec: Option<&ToolSpec>,
    ending: Ending,
) -> Result<(Object, Vec<Repair>), String> {
    let mut repaired = Vec::new();
    let object = match trimmed(text) {
        "" | "null" => Object::new(),
        text => object(text, ending, &mut repaired, 0)?,
    };
    let Some(spec) = spec else { return Ok((object, repaired)) };
    let mut object = unnested(object, spec, ending, &mut repaired)?;
    let properties = spec.parameters["properties"].as_object();
    if let (Some(properties), false) = (properties, repaired.is_empty())
        && let Some(key) = object.keys().find(|key| !properties.contains_key(*key))
    {
        return Err(format!("are not JSON that can be read: there is no argument `{key}`"));
    }
    convert(&mut object, spec, &mut repaired);
    Ok((object, repaired))
}

/// The sentence for arguments that cannot be read.
pub(super) fn refusal(name: &str, spec: Option<&ToolSpec>, why: &str) -> String {
    format!(
        "the arguments of the call of `{name}` {why}; send one object, such as {}",
        example(spec)
    )
}

/// Arguments that `spec` would take.
fn example(spec: Option<&ToolSpec>) -> Value {
    let parameters = spec.map(|spec| &spec.parameters);
    let required = parameters.and_then(|schema| schema["required"].as_array());
    let mut example = Object::new();
    for key in required.into_iter().flatten().filter_map(Value::as_str) {
        let types = parameters.map(|schema| types(&schema["properties"][key]));
        let value = match types.unwrap_or_default().first() {
            Some(&"integer" | &"number") => json!(1),
            Some(&"boolean") => json!(true),
            Some(&"array") => json!([]),
            Some(&"object") => json!({}),
            _ => json!("..."),
        };
        example.insert(key.into(), value);
    }
    Value::Object(example)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

fn object(
    text: &str,
    ending: Ending,
    repaired: &mut Vec<Repair>,
    layer: usize,
) -> Result<Object, String> {
    let text = trimmed(text);
    if layer > MAX_LAYERS {
        return Err("are not JSON: they are quoted too often".into());
    }
    let mut inside = |repair: Repair, text: &str| {
        repaired.push(repair);
        object(text, ending, repaired, layer + 1)
    };
    let strict = serde_json::from_str::<Value>(text);
    if strict.is_ok() {
        json::one_value_each(text).map_err(|why| format!("have several readings: {why}"))?;
    }
    match strict {
        Ok(Value::Object(object)) => return Ok(object),
        Ok(Value::String(text)) if is_enclosed(&text) => return inside(Repair::QuotedTwice, &text),
        Ok(Value::Array(values)) => {
            return match <[Value; 1]>::try_from(values) {
                Ok([only @ Value::Object(_)]) => inside(Repair::Nesting, &only.to_string()),
                _ => Err("are not an object".into()),
            };
        }
        Ok(_) => return Err("are not an object".into()),
        Err(_) => {}
    }
    if let Some(body) = unfenced(text) {
        return inside(Repair::CodeFence, body);
    }
    if text.starts_with("{&quot;") {
        return inside(Repair::HtmlEscaped, &unescaped_html(text));
    }
    if text.starts_with("{\\\"")
        && let Ok(text) = serde_json::from_str::<String>(&format!("\"{text}\""))
    {
        return inside(Repair::QuotedTwice, &text);
    }
    in_prose(text, ending, repaired)
}

/// Whether a string looks like JSON itself.
fn is_enclosed(text: &str) -> bool {
    let text = trimmed(text);
    text.starts_with(['{', '[', '`']) || text.starts_with("\"{")
}

/// What stands between fences, if nothing stands around them.
fn unfenced(text: &str) -> Option<&str> {
    let fence = ["```", "~~~", "`"].into_iter().find(|fence| text.starts_with(fence))?;
    let inside = text[fence.len()..].strip_suffix(fence).or_else(|| {
        // The closing fence may be missing: what follows is read as JSON or not at all.
        Some(&text[fence.len()..])
    })?;
    let info = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(0);
    Some(&inside[info..])
}

fn unescaped_html(text: &str) -> String {
    let pairs = [("&quot;", "\""), ("&#39;", "'"), ("&apos;", "'"), ("&#34;", "\"")];
    let pairs = pairs.into_iter().chain([("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")]);
    pairs.fold(text.to_string(), |text, (from, to)| text.replace(from, to))
}

/// The only object in a text that is not JSON as a whole.
fn in_prose(text: &str, ending: Ending, repaired: &mut Vec<Repair>) -> Result<Object, String> {
    let strict = |text: &str| serde_json::from_str::<Value>(text).err().map(|why| why.to_string());
    let not_json = |why: String| format!("are not JSON: {why}");
    let start = text.find('{').ok_or_else(|| not_json(strict(text).unwrap_or_default()))?;
    let before = &text[..start];
    // Quotes or brackets belong to broken JSON, not to prose.
    if before.contains(['"', '[', '}', ']']) {
        return Err(not_json(strict(text).unwrap_or_default()));
    }
    let (mut objects, mut at) = (Vec::<Object>::new(), start);
    while text[at..].starts_with('{') {
        let (value, length, fixes) = json::value_at(&text[at..], ending).map_err(not_json)?;
        if let Value::Object(object) = value {
            objects.push(object);
        }
        repaired.extend(fixes);
        at += length;
        let between = |c: char| c.is_whitespace() || matches!(c, ',' | ';');
        let rest = text[at..].trim_start_matches(between);
        if rest.starts_with('{') {
            at = text.len() - rest.len();
        }
    }
    let after = text[at..].trim();
    if !is_clutter(after) {
        let after: String = after.chars().take(40).collect();
        return Err(format!("are not JSON: `{after}` follows the object"));
    }
    if !before.trim().is_empty() || !after.is_empty() {
        repaired.push(Repair::ExtraText);
    }
    if objects.len() > 1 {
        repaired.push(Repair::DoubledObject);
    }
    objects.retain(|object| !object.is_empty());
    objects.dedup();
    match <[Object; 1]>::try_from(objects) {
        Ok([only]) => Ok(only),
        Err(none) if none.is_empty() && before.trim().is_empty() => Ok(Object::new()),
        Err(none) if none.is_empty() => Err("are not JSON".into()),
        Err(several) => Err(format!("are {} different objects", several.len())),
    }
}

/// Whether a text after an object cannot be a part of it: closing quotes, brackets and
/// fences, tokens of a template, or prose.
fn is_clutter(text: &str) -> bool {
    const TOKENS: [(&str, &str); 3] = [("<|", "|>"), ("<｜", "｜>"), ("</", ">")];
    let mut text = text;
    while let Some(rest) = TOKENS.iter().find_map(|(open, close)| {
        let (_, rest) = text.strip_prefix(open)?.split_once(close)?;
        Some(rest.trim_start())
    }) {
        text = rest;
    }
    let is_closing = |c: char| c.is_whitespace() || "\"'`~}])>;,.".contains(c);
    text.chars().all(is_closing) || !text.contains(['"', '{', '}', '[', ']'])
}

/// The arguments, if a whole call or a list stands in their place.
fn unnested(
    mut object: Object,
    spec: &ToolSpec,
    ending: Ending,
    repaired: &mut Vec<Repair>,
) -> Result<Object, String> {
    let Some(properties) = spec.parameters["properties"].as_object() else { return Ok(object) };
    if object.is_empty() || object.keys().any(|key| properties.contains_key(key)) {
        return Ok(object);
    }
    let is_call = |key: &String| {
        ARGUMENTS.contains(&key.as_str()) || NAMES.contains(&key.as_str()) || key == "type"
    };
    let same = |key: &&str| match object.get(*key) {
        Some(Value::String(name)) => named::bare(name) == spec.name,
        _ => true,
    };
    let held: Vec<&str> =
        ARGUMENTS.iter().copied().filter(|key| object.contains_key(*key)).collect();
    let ([key], true, true) = (held.as_slice(), object.keys().all(is_call), NAMES.iter().all(same))
    else {
        return Ok(object);
    };
    let inside = match object.remove(*key) {
        Some(Value::Object(inside)) => inside,
        Some(Value::String(text)) => self::object(&text, ending, repaired, 0)?,
        Some(_) => return Err("are not an object".into()),
        None => return Ok(object),
    };
    repaired.push(Repair::Nesting);
    Ok(inside)
}

/// The types of a schema, without `null`.
fn types(schema: &Value) -> Vec<&str> {
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    types.into_iter().filter(|kind| *kind != "null").collect()
}

/// Converts strings to the type that the tool takes, if they are values of it.
fn convert(object: &mut Object, spec: &ToolSpec, repaired: &mut Vec<Repair>) {
    for (key, value) in object.iter_mut() {
        let schema = &spec.parameters["properties"][key.as_str()];
        let converted = match value {
            Value::String(text) => converted(text, schema),
            Value::Number(number) if types(schema) == ["integer"] => whole(number.as_f64()),
            _ => None,
        };
        if let Some(converted) = converted.filter(|converted| converted != value) {
            *value = converted;
            repaired.push(Repair::ValueType);
        }
    }
}

/// The value of a text for a schema that takes no text.
pub(super) fn converted(text: &str, schema: &Value) -> Option<Value> {
    let types = types(schema);
    if types.is_empty() || types.contains(&"string") {
        return None;
    }
    let (value, length, _) = json::value_at(text.trim(), Ending::CutOff).ok()?;
    let has = |kind: &str| types.contains(&kind);
    let is_taken = match &value {
        Value::Number(number) => has("number") || (has("integer") && !number.is_f64()),
        Value::Bool(_) => has("boolean"),
        Value::Array(_) => has("array"),
        Value::Object(_) => has("object"),
        Value::Null => true,
        Value::String(_) => false,
    };
    (is_taken && length == text.trim().len()).then_some(value)
}

/// `60.0` as `60`.
fn whole(number: Option<f64>) -> Option<Value> {
    let number = number.filter(|number| number.fract() == 0.0 && number.abs() < 1e15)?;
    Some(json!(number as i64))
}
