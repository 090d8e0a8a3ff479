//! Calls in a text that begin with a mark, in the forms that chat templates teach.

use std::ops::Range;

use fixfly_runtime::{Repair, ToolSpec};
use serde_json::Value;

use super::{Ending, Parsed, arguments, json, named, parsed, payload, pythonic, tags};

/// How a call begins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Opener {
    /// Any form between two tags; some templates teach no closing tag.
    Tags { close: &'static str, is_optional: bool },
    /// JSON between two tags; other contents have tags of their own.
    Json { close: &'static str },
    /// An XML element with the name of the tool.
    Element,
    /// DeepSeek's and Kimi's tokens: name, separator, arguments.
    Tokens,
    /// Mistral's: a list, or a name and arguments.
    Mistral,
    /// Llama's: JSON or Python, up to the end.
    Python,
    /// OpenAI's harmony: the name, a header, arguments.
    Harmony,
}

/// An element that may have a prefix before it.
const PREFIXED: &str = "invoke name=";
const OPENERS: &[(&str, Opener)] = &[
    ("<tool_call>", Opener::Tags { close: "</tool_call>", is_optional: false }),
    ("<function_call>", Opener::Tags { close: "</function_call>", is_optional: false }),
    ("<|tool_call|>", Opener::Tags { close: "<|/tool_call|>", is_optional: true }),
    ("<|tool_call_start|>", Opener::Tags { close: "<|tool_call_end|>", is_optional: false }),
    ("<tool_calls>", Opener::Json { close: "</tool_calls>" }),
    ("<TOOLCALL>", Opener::Json { close: "</TOOLCALL>" }),
    ("<|START_ACTION|>", Opener::Json { close: "<|END_ACTION|>" }),
    ("<|tools_prefix|>", Opener::Json { close: "<|tools_suffix|>" }),
    ("<function=", Opener::Element),
    ("<function name=", Opener::Element),
    (PREFIXED, Opener::Element),
    ("<｜tool▁call▁begin｜>", Opener::Tokens),
    ("<|tool▁call▁begin|>", Opener::Tokens),
    ("<|tool_call_begin|>", Opener::Tokens),
    ("[TOOL_CALLS]", Opener::Mistral),
    ("<|python_tag|>", Opener::Python),
    ("to=functions.", Opener::Harmony),
];
const SEPARATORS: [&str; 5] = [
    "<｜tool▁sep｜>",
    "<|tool▁sep|>",
    "<|tool_sep|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_arguments_begin|>",
];
const ENDS: [&str; 3] = ["<｜tool▁call▁end｜>", "<|tool▁call▁end|>", "<|tool_call_end|>"];
/// Tokens that end a turn.
pub(super) const TURN_ENDS: [&str; 6] =
    ["<|eom_id|>", "<|eot_id|>", "<|im_end|>", "</s>", "<|call|>", "<|end|>"];

/// What stands at an opener.
pub(super) enum Found {
    Call(Result<Parsed, String>),
    /// The opener alone: a mention in prose, or a call that never began.
    Mention(String),
}

/// The calls that begin with an opener, with their spans.
pub(super) fn marked(
    text: &str,
    code: &[Range<usize>],
    tools: &[ToolSpec],
    ending: Ending,
) -> Vec<(Range<usize>, Found)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some((start, opener)) = next_opener(text, code, at) {
        let (calls, length) = at_opener(&text[start..], opener, tools, ending);
        at = start + length.max(1);
        at += (at..text.len()).take_while(|at| !text.is_char_boundary(*at)).count();
        found.extend(calls.into_iter().map(|call| (start..at, call)));
    }
    found
}

/// The next opener from `from` on that stands neither in code nor after a backtick.
fn next_opener(
    text: &str,
    code: &[Range<usize>],
    from: usize,
) -> Option<(usize, (&'static str, Opener))> {
    let is_open = |at: &usize| {
        let in_code = code.iter().any(|span| span.contains(at));
        !in_code && !text[..*at].ends_with('`')
    };
    let openers = OPENERS.iter().filter_map(|opener| {
        let places = text[from..].match_indices(opener.0).map(|(at, _)| from + at);
        Some((places.into_iter().find(is_open)?, *opener))
    });
    let (start, opener) = openers.min_by_key(|(start, _)| *start)?;
    Some((element_start(text, (from, start), opener.0), opener))
}

/// The marks of a fence, if the line begins with one.
pub(super) fn fence_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = line.find(|c| c != mark).unwrap_or(line.len());
    (length >= 3).then(|| &line[..length])
}

/// An element with a prefix begins before its opener: `<PREFIX:invoke name=`.
fn element_start(text: &str, (from, start): (usize, usize), opener: &str) -> usize {
    if opener != PREFIXED {
        return start;
    }
    let before = text[from..start].rfind('<').map(|at| from + at);
    before.filter(|at| start - at < 40).unwrap_or(start)
}

/// The calls at an opener, with the bytes that they take.
fn at_opener(
    text: &str,
    (mark, opener): (&str, Opener),
    tools: &[ToolSpec],
    ending: Ending,
) -> (Vec<Found>, usize) {
    let one = |(call, length): (Result<Parsed, String>, usize)| (vec![Found::Call(call)], length);
    match opener {
        Opener::Tags { close, is_optional } => {
            let (mut found, length) = tagged(&text[mark.len()..], (mark, close), tools, ending);
            if let ([Found::Call(Ok(call))], true) = (found.as_mut_slice(), is_optional) {
                call.repaired.retain(|repair| *repair != Repair::MissingTag);
            }
            (found, mark.len() + length)
        }
        Opener::Json { close } if text[mark.len()..].trim_start().starts_with(['[', '{']) => {
            let (found, length) = tagged(&text[mark.len()..], (mark, close), tools, ending);
            (found, mark.len() + length)
        }
        Opener::Json { .. } => (Vec::new(), mark.len()),
        Opener::Element if tags::is_function(text) => one(tags::function_at(text, tools, ending)),
        Opener::Element => (Vec::new(), mark.len()),
        Opener::Tokens => one(tokens(text, mark, tools, ending)),
        Opener::Mistral => {
            let (found, length) = mistral(&text[mark.len()..], tools, ending);
            (found, mark.len() + length)
        }
        Opener::Python => {
            let inside = before_any(&text[mark.len()..], &TURN_ENDS);
            (untagged(inside, tools, ending, mark), mark.len() + inside.len())
        }
        Opener::Harmony => harmony(text, mark, tools, ending),
    }
}

/// The text up to the first of these, or all of it.
pub(super) fn before_any<'a>(text: &'a str, ends: &[&str]) -> &'a str {
    let end = ends.iter().filter_map(|end| text.find(end)).min();
    &text[..end.unwrap_or(text.len())]
}

/// A call in any form between two tags.
fn tagged(
    text: &str,
    (open, close): (&str, &str),
    tools: &[ToolSpec],
    ending: Ending,
) -> (Vec<Found>, usize) {
    let start = text.len() - text.trim_start().len();
    let inside = &text[start..];
    if tags::is_function(inside) {
        let (call, length) = tags::function_at(inside, tools, ending);
        return (vec![Found::Call(call)], start + length);
    }
    // JSON may contain the closing tag, so it is read before the tag is looked for.
    if inside.starts_with(['{', '['])
        && let Ok((_, length, repaired)) = json::value_at(inside, Ending::CutOff)
        && repaired.is_empty()
    {
        let rest = &inside[length..];
        let is_closed = rest.trim_start().starts_with(close);
        if is_closed || (rest.trim().is_empty() && ending == Ending::Whole) {
            let (calls, _) = payload::calls_at(&inside[..length], tools, ending);
            let mut calls: Vec<_> = calls.into_iter().map(Found::Call).collect();
            if let ([Found::Call(Ok(call))], false) = (calls.as_mut_slice(), is_closed) {
                call.repaired.push(Repair::MissingTag);
            }
            return (calls, start + length);
        }
    }
    let Some(end) = text.find(close) else {
        let why = format!("`{open}` has no `{close}`");
        let is_begun = inside.starts_with(['{', '[', '<', '"', '`']);
        let found = if is_begun { Found::Call(Err(why)) } else { Found::Mention(why) };
        return (vec![found], if is_begun { text.len() } else { 0 });
    };
    // An opener in prose before the real one.
    if let Some(at) = text[..end].rfind(open)
        && !inside.starts_with(['{', '[', '"'])
    {
        return (vec![Found::Mention(format!("`{open}` has no `{close}`"))], at);
    }
    (untagged(&text[..end], tools, ending, open), end + close.len())
}

/// A call without what encloses it: JSON, GLM's pairs, or Python.
fn untagged(text: &str, tools: &[ToolSpec], ending: Ending, open: &str) -> Vec<Found> {
    if let Some(call) = tags::pairs(text.trim(), tools, ending) {
        return vec![Found::Call(call)];
    }
    if let Some(calls) = pythonic::calls(text, tools) {
        return calls.into_iter().map(Found::Call).collect();
    }
    let (calls, length) = payload::calls_at(text, tools, ending);
    if !calls.is_empty() && text[length..].trim().is_empty() {
        return calls.into_iter().map(Found::Call).collect();
    }
    match arguments::read(text, None, ending) {
        Ok((object, repaired)) if !object.is_empty() => {
            let (calls, _) = payload::calls_at(&Value::Object(object).to_string(), tools, ending);
            let repair = |call: Parsed| Parsed {
                repaired: call.repaired.iter().chain(&repaired).copied().collect(),
                ..call
            };
            calls.into_iter().map(|call| Found::Call(call.map(repair))).collect()
        }
        _ if !text.contains(['{', '<']) => {
            let start: String = text.trim().chars().take(40).collect();
            let why = format!("`{open}` is followed by `{start}`, which is no call");
            vec![Found::Call(Err(why))]
        }
        Ok(_) => vec![Found::Call(Err("the tool call has no `name`".into()))],
        Err(why) => {
            let why = match (why.strip_prefix("are "), why.strip_prefix("have ")) {
                (None, Some(why)) => format!("the tool call has {why}"),
                (why_not, _) => format!("the tool call is {}", why_not.unwrap_or(&why)),
            };
            vec![Found::Call(Err(why))]
        }
    }
}

/// DeepSeek's and Kimi's form, up to its closing token or the end.
fn tokens(
    text: &str,
    mark: &str,
    tools: &[ToolSpec],
    ending: Ending,
) -> (Result<Parsed, String>, usize) {
    let inside = before_any(&text[mark.len()..], &ENDS);
    let length = mark.len() + inside.len();
    let separator = SEPARATORS.into_iter().find(|separator| inside.contains(separator));
    let Some((name, body)) = separator.and_then(|separator| inside.split_once(separator)) else {
        return (Err(format!("`{mark}` is not followed by a name and arguments")), length);
    };
    // DeepSeek R1: `function`, the name on a line, and the arguments between fences.
    let (name, body) = match (name.trim(), body.split_once('\n')) {
        ("function", Some((name, body))) => (name, body),
        _ => (name, body),
    };
    let body = body.trim();
    let body =
        body.strip_prefix("```json").and_then(|body| body.strip_suffix("```")).unwrap_or(body);
    (parsed(named::bare(name), body, tools, ending), length)
}

/// `[{"name": …}]`, `NAME{…}` or `NAME[ARGS]{…}`.
fn mistral(text: &str, tools: &[ToolSpec], ending: Ending) -> (Vec<Found>, usize) {
    let start = text.len() - text.trim_start().len();
    if text[start..].starts_with(['[', '{']) {
        let (calls, length) = payload::calls_at(text, tools, ending);
        return (calls.into_iter().map(Found::Call).collect(), length);
    }
    let Some(at) = text.find('{') else {
        return (vec![Found::Mention("`[TOOL_CALLS]` is followed by no call".into())], 0);
    };
    let name = text[..at].split('[').next().unwrap_or_default().trim();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return (vec![Found::Mention("`[TOOL_CALLS]` is followed by no call".into())], 0);
    }
    let rest = before_any(&text[at..], &["[TOOL_CALLS]", "</s>"]);
    (vec![Found::Call(parsed(name, rest, tools, ending))], at + rest.len())
}

/// `to=functions.NAME <|constrain|>json<|message|>{…}<|call|>`
fn harmony(text: &str, mark: &str, tools: &[ToolSpec], ending: Ending) -> (Vec<Found>, usize) {
    let Some((header, body)) = text[mark.len()..].split_once("<|message|>") else {
        return (Vec::new(), mark.len());
    };
    let is_end = |c: char| c.is_whitespace() || c == '<';
    let name = &header[..header.find(is_end).unwrap_or(header.len())];
    let body = before_any(body, &TURN_ENDS);
    let length = text.len().min(mark.len() + header.len() + "<|message|>".len() + body.len());
    (vec![Found::Call(parsed(name, body, tools, ending))], length)
}
