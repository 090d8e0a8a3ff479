//! Calls in a text without a mark: JSON or Python that is a call of a known tool beyond
//! doubt, as a code block or as the end of the text.

use fixfly_runtime::ToolSpec;

use super::forms::{Found, OPENERS, TURN_ENDS, before_any, fence_of, marked};
use super::{Ending, Parsed, json, payload, pythonic, tags};

/// Lines that may begin a call without a mark: only the last so many are tried.
const MAX_STARTS: usize = 100;

/// Calls that are the only content of a code block.
pub(super) fn fenced(
    text: &str,
    tools: &[ToolSpec],
    ending: Ending,
) -> Vec<Result<Parsed, String>> {
    let mut calls = Vec::new();
    let mut open: Option<(&str, &str, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let mark = fence_of(line);
        let after = at + line.len();
        match (open, mark) {
            (None, Some(mark)) => open = Some((mark, line.trim().trim_start_matches(mark), after)),
            (Some((begun, info, from)), Some(mark)) if mark.starts_with(begun) => {
                if matches!(info.trim(), "" | "json" | "xml" | "tool_call" | "tool_code") {
                    calls.extend(block(text[from..at].trim(), tools, ending));
                }
                open = None;
            }
            _ => {}
        }
        at = after;
    }
    calls
}

/// The calls of a code block that is nothing else.
fn block(text: &str, tools: &[ToolSpec], ending: Ending) -> Vec<Result<Parsed, String>> {
    if OPENERS.iter().any(|(mark, _)| text.starts_with(mark)) || tags::is_function(text) {
        let found = marked(text, tools, ending).into_iter();
        let calls = found.filter_map(|found| match found {
            Found::Call(call) => Some(call),
            Found::Mention(_) => None,
        });
        return calls.collect();
    }
    undoubted(text, tools, ending)
}

/// A call without any mark: the whole text, or its end from the start of a line on.
pub(super) fn bare(text: &str, tools: &[ToolSpec], ending: Ending) -> Vec<Result<Parsed, String>> {
    let text = before_any(text, &TURN_ENDS).trim_end();
    if !text.ends_with(['}', ']', ';', ')']) {
        return Vec::new();
    }
    let mut starts = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        starts.extend(line.trim_start().starts_with(['{', '[']).then_some(at));
        at += line.len();
    }
    let last = starts.len().saturating_sub(MAX_STARTS);
    let calls = starts[last..].iter().map(|start| undoubted(&text[*start..], tools, ending));
    let calls = calls.into_iter().find(|calls| !calls.is_empty());
    calls.or_else(|| pythonic::calls(text, tools)).unwrap_or_default()
}

/// The calls of a text that is nothing but JSON with the names of known tools.
fn undoubted(text: &str, tools: &[ToolSpec], ending: Ending) -> Vec<Result<Parsed, String>> {
    let mut at = 0;
    loop {
        let rest = text[at..].trim_start_matches(|c: char| c.is_whitespace() || c == ';');
        if rest.is_empty() {
            break;
        }
        match json::value_at(rest, ending) {
            Ok((value, length, _)) if payload::is_call(&value, tools) => {
                at = text.len() - rest.len() + length;
            }
            _ => return Vec::new(),
        }
    }
    payload::calls_at(text, tools, ending).0
}
