//! What the finish reasons of servers mean.

use fixfly_runtime::Finish;
use serde_json::Value;

/// What a server's finish reason means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It gives none: the answer is not over.
    None,
    /// The answer is whole, or the model's own answer ended in this way.
    Finish(Finish),
    /// The server failed.
    Failure,
    /// It is not in the list.
    Unknown,
}

/// Words of the same meaning: OpenAI's, then those of other servers.
const FINISHES: [(Finish, &[&str]); 5] = [
    (
        Finish::Stop,
        &[
            "stop",
            "eos",
            "eos_token",
            "end",
            "end_turn",
            "end_of_turn",
            "end_of_text",
            "stop_sequence",
            "stop_token",
            "complete",
            "completed",
            "done",
            "finish",
            "finished",
            "normal",
        ],
    ),
    (
        Finish::Length,
        &[
            "length",
            "max_tokens",
            "max_length",
            "max_output_tokens",
            "max_new_tokens",
            "max_completion_tokens",
            "model_length",
            "token_limit",
            "context_length",
            "context_length_exceeded",
            "model_context_window_exceeded",
            "error_limit",
        ],
    ),
    (
        Finish::ToolCall,
        &[
            "tool_calls",
            "function_call",
            "tool_call",
            "tool_use",
            "tool",
            "function_calls",
            // Google's words for a call that its model wrote wrongly.
            "malformed_function_call",
            "unexpected_tool_call",
            "too_many_tool_calls",
        ],
    ),
    (
        Finish::Filtered,
        &[
            "content_filter",
            "content_filtered",
            "filtered",
            "safety",
            "recitation",
            "blocklist",
            "prohibited_content",
            "spii",
            "sensitive",
            "guardrail_intervened",
            "error_toxic",
            "moderation",
        ],
    ),
    (Finish::Refused, &["refusal", "refused"]),
];

/// Words of a server's own failure: DeepSeek's, Zhipu's, vLLM's, SGLang's, OpenRouter's.
const FAILURES: [&str; 24] = [
    "error",
    "insufficient_system_resource",
    "network_error",
    "abort",
    "aborted",
    "cancelled",
    "canceled",
    "cancel",
    "user_cancel",
    "user_cancelled",
    "disconnect",
    "disconnected",
    "interrupted",
    "preempted",
    "timeout",
    "timed_out",
    "failed",
    "failure",
    "server_error",
    "internal_error",
    "internal_server_error",
    "engine_error",
    "overloaded",
    "rate_limit",
];

/// Python and JavaScript write a missing reason like this.
const NONE: [&str; 5] = ["", "null", "none", "undefined", "nil"];

/// The server's word for why an answer ended.
pub(super) fn word(choice: &Value) -> Option<String> {
    let found = ["finish_reason", "finishReason"].iter().map(|key| &choice[*key]);
    let value = found.into_iter().find(|value| !value.is_null())?;
    match value {
        Value::String(word) => Some(word.clone()),
        Value::Object(inner) => Some(inner.get("type")?.as_str()?.to_string()),
        Value::Null | Value::Bool(false) => None,
        other => Some(other.to_string()),
    }
}

/// What a server's word means.
pub(super) fn reason(word: &str) -> Reason {
    let word = word.trim().to_lowercase().replace(['-', ' '], "_");
    let word = word.strip_prefix("finish_reason_").unwrap_or(&word);
    // "function_call_filter: MALFORMED_FUNCTION_CALL": the reason, and its detail.
    let (general, detail) = word.split_once(':').unwrap_or((word, ""));
    let all = [word, general, detail].map(|word| word.trim_matches('_'));
    if NONE.contains(&all[0]) {
        return Reason::None;
    }
    let known = all.into_iter().map(listed).find(|reason| *reason != Reason::Unknown);
    known.unwrap_or(Reason::Unknown)
}

fn listed(word: &str) -> Reason {
    if FAILURES.contains(&word) {
        return Reason::Failure;
    }
    let found = FINISHES.iter().find(|(_, words)| words.contains(&word));
    found.map_or(Reason::Unknown, |(finish, _)| Reason::Finish(*finish))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(words: &[&str], expected: Reason) {
        for word in words {
            assert_eq!(reason(word), expected, "{word}");
        }
    }

    #[test]
    fn each_word_means_one_thing() {
        use Reason::Finish as Known;
        check(&["stop", "STOP", "eos_token", "end_turn", "COMPLETE"], Known(Finish::Stop));
        check(&["FINISH_REASON_STOP", "stop-sequence", " stop "], Known(Finish::Stop));
        check(&["length", "MAX_TOKENS", "model_length"], Known(Finish::Length));
        check(&["tool_calls", "function_call", "tool_use"], Known(Finish::ToolCall));
        check(&["content_filter", "SAFETY", "RECITATION", "sensitive"], Known(Finish::Filtered));
        check(&["refusal"], Known(Finish::Refused));
        check(&["normal"], Known(Finish::Stop));
        check(
            &["content_filter: PROHIBITED_CONTENT", "content_filter: X"],
            Known(Finish::Filtered),
        );
        let malformed = ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"];
        check(&malformed, Known(Finish::ToolCall));
        check(&["function_call_filter: MALFORMED_FUNCTION_CALL"], Known(Finish::ToolCall));
        check(&["error: out of memory"], Reason::Failure);
        check(&["function_call_filter: X", ":", "x: "], Reason::Unknown);
        check(&["error", "insufficient_system_resource", "network_error"], Reason::Failure);
        check(&["abort", "cancelled", "ERROR"], Reason::Failure);
        check(&["", " ", "null", "None"], Reason::None);
        check(&["weird", "unknown", "stopped?", "not_stop", "7", "OTHER"], Reason::Unknown);
        let all = FINISHES.iter().flat_map(|(_, words)| words.iter()).chain(&FAILURES).chain(&NONE);
        let all: Vec<_> = all.collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "no word is listed twice");
    }

    #[test]
    fn a_word_is_found_in_every_form() {
        let check = |choice: Value, expected: Option<&str>| {
            assert_eq!(word(&choice).as_deref(), expected, "{choice}");
        };
        check(json!({ "finish_reason": "stop" }), Some("stop"));
        check(json!({ "finishReason": "STOP" }), Some("STOP"));
        check(json!({ "finish_reason": { "type": "stop" } }), Some("stop"));
        check(json!({ "finish_reason": 3 }), Some("3"));
        check(json!({ "finish_reason": null }), None);
        check(json!({ "finish_reason": false }), None);
        check(json!({}), None);
    }
}
