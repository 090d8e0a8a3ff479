//! The text, reasoning and refusal of a message, in every form that servers send.

use serde_json::Value;

/// Fields of reasoning. DeepSeek and older vLLM send the first, OpenRouter and newer vLLM
/// the second. A server that sends several sends the same text.
const REASONING: [&str; 6] = [
    "reasoning_content",
    "reasoning",
    "thinking",
    "reasoning_text",
    "reasoning_details",
    "thinking_blocks",
];

/// What a message or a part of it contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) refusal: String,
}

impl Words {
    /// The words of a message or a delta.
    pub(super) fn of(message: &Value) -> Words {
        let mut words = Words::default();
        words.content(&message["content"]);
        let fields = REASONING.iter().map(|key| flat(&message[*key]));
        words.reasoning += &fields.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        words.refusal += &flat(&message["refusal"]);
        words
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.reasoning.is_empty() && self.refusal.is_empty()
    }

    /// Adds the content of a message: text, a part, or a list of parts.
    fn content(&mut self, content: &Value) {
        match content {
            Value::String(text) => self.text += text,
            Value::Array(parts) => parts.iter().for_each(|part| self.content(part)),
            Value::Object(part) => match part.get("type").and_then(Value::as_str) {
                Some("thinking" | "reasoning" | "reasoning_content" | "thought") => {
                    self.reasoning += &flat(content);
                }
                Some("refusal") => self.refusal += &flat(content),
                // Calls have fields of their own.
                Some("tool_use" | "tool_call" | "tool_calls" | "function_call") => {}
                _ => self.text += &flat(content),
            },
            _ => {}
        }
    }
}

/// All text in a part: `{"text": …}`, `{"thinking": [{"text": …}]}`, `{"summary": …}`.
fn flat(part: &Value) -> String {
    match part {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(flat).collect(),
        Value::Object(part) => {
            let keys = ["text", "thinking", "reasoning", "content", "summary", "refusal", "value"];
            let found = keys.iter().filter_map(|key| part.get(*key)).map(flat);
            found.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(message: Value, text: &str, reasoning: &str) {
        let words = Words::of(&message);
        assert_eq!((&*words.text, &*words.reasoning), (text, reasoning), "{message}");
    }

    #[test]
    fn content_is_read_in_every_form() {
        check(json!({ "content": "b" }), "b", "");
        check(json!({ "content": null, "reasoning_content": "a" }), "", "a");
        check(json!({}), "", "");
        check(json!(null), "", "");
        let text = |text: &str| json!({ "type": "text", "text": text });
        let thinking = json!({ "type": "thinking", "thinking": [text("a")] });
        check(json!({ "content": [thinking, text("b"), text("c")] }), "bc", "a");
        let thinking = json!({ "type": "thinking", "thinking": "a", "signature": "x" });
        check(json!({ "content": [thinking, { "type": "output_text", "text": "b" }] }), "b", "a");
        let summary = json!({ "type": "reasoning", "summary": [{ "type": "t", "text": "a" }] });
        check(json!({ "content": [summary, "b"] }), "b", "a");
        check(json!({ "content": { "type": "text", "text": { "value": "b" } } }), "b", "");
        check(json!({ "content": [{ "text": "b" }] }), "b", "");
        let call = json!({ "type": "tool_use", "name": "f", "input": {} });
        check(json!({ "content": [text("b"), call] }), "b", "");
    }

    #[test]
    fn reasoning_is_found_in_every_field_once() {
        for message in [
            json!({ "content": "b", "reasoning_content": "a" }),
            json!({ "content": "b", "reasoning": "a" }),
            json!({ "content": "b", "reasoning": "a", "reasoning_content": "a" }),
            json!({ "content": "b", "reasoning_content": "", "reasoning": "a" }),
            json!({ "content": "b", "reasoning": { "content": "a" } }),
            json!({ "content": "b", "thinking": "a" }),
            json!({ "content": "b", "thinking": { "content": "a" } }),
            json!({ "content": "b", "reasoning_text": "a" }),
            json!({ "content": "b", "reasoning_details": [{ "type": "reasoning.text", "text": "a" }] }),
            json!({ "content": "b", "thinking_blocks": [{ "type": "thinking", "thinking": "a" }] }),
        ] {
            check(message, "b", "a");
        }
        let refusal = json!({ "content": [{ "type": "refusal", "refusal": "no" }] });
        assert_eq!(Words::of(&refusal).refusal, "no");
        assert_eq!(Words::of(&json!({ "content": null, "refusal": "no" })).refusal, "no");
    }
}
