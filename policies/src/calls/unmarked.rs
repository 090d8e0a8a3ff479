//! Calls in a text without a mark: JSON or Python that is a call of a known tool beyond
//! doubt, as a code block or as the end of the text.

use std::ops::Range;

use fixfly_runtime::ToolSpec;

use super::forms::{TURN_ENDS, before_any, fence_of};
use super::{Ending, Parsed, json, payload, pythonic};

/// Calls with their spans.
type Spanned = Vec<(Range<usize>, Result<Parsed, String>)>;

/// Lines that may begin a call without a mark: only the last so many are tried.
const MAX_STARTS: usize = 100;

/// Calls that are the only content of a code block.
pub(super) fn fenced(text: &str, tools: &[ToolSpec], ending: Ending) -> Spanned {
    let mut calls = Vec::new();
    let mut open: Option<(&str, &str, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let mark = fence_of(line);
        let after = at + line.len();
        match (open, mark) {
            (None, Some(mark)) => open = Some((mark, line.trim().trim_start_matches(mark), after)),
            (Some((begun, info, from)), Some(mark)) if mark.starts_with(begun) => {
                if matches!(info.trim(), "" | "json" | "tool_call" | "tool_code") {
                    let inside = undoubted(&text[from..at], tools, ending);
                    calls.extend(inside.into_iter().map(|call| (from..at, call)));
                }
                open = None;
            }
            _ => {}
        }
        at = after;
    }
    calls
}

/// A call without any mark: the whole text, or its end from the start of a line on.
pub(super) fn bare(text: &str, tools: &[ToolSpec], ending: Ending) -> Spanned {
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
    for start in &starts[starts.len().saturating_sub(MAX_STARTS)..] {
        let calls = undoubted(&text[*start..], tools, ending);
        if !calls.is_empty() {
            return calls.into_iter().map(|call| (*start..text.len(), call)).collect();
        }
    }
    let calls = pythonic::calls(text, tools).unwrap_or_default();
    calls.into_iter().map(|call| (0..text.len(), call)).collect()
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
