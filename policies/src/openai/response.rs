//! Assembles an answer, whole or streamed.

use std::collections::BTreeMap;

use fixfly_runtime::{Finish, NativeCall};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::calls::Calls;
use super::content::Words;
use super::finish::{self, Reason};
use super::json::joined;
use super::reader::AnswerError;
use super::server_error::{ServerError, line};
use super::usage::{Tokens, tokens};
use crate::answer::split_reasoning;

/// An answer, as the journal keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The model, as the server names it.
    pub(crate) model: String,
    pub(crate) text: String,
    pub(crate) reasoning: Option<String>,
    pub(crate) calls: Vec<NativeCall>,
    pub(crate) finish: Option<Finish>,
    /// The server's own word for `finish`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) finish_reason: Option<String>,
    pub(crate) tokens: Option<Tokens>,
    /// The limit that was sent, if it is not the one that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_tokens: Option<u32>,
    pub(crate) first_token_ms: Option<u64>,
    pub(crate) total_ms: u64,
}

/// Assembles an answer from its parts.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    reply: Reply,
    reasoning: String,
    refusal: String,
    calls: Calls,
    /// Finish reasons that the user's profile explains.
    reasons: BTreeMap<String, Finish>,
    any: bool,
    /// Whether a chunk had a choice.
    has_choice: bool,
    /// The first chunk, if it had none.
    bare: Option<String>,
}

impl Parts {
    /// Also takes these finish reasons.
    pub(super) fn know(&mut self, reasons: &BTreeMap<String, Finish>) {
        self.reasons.clone_from(reasons);
    }

    /// Adds a chunk of a stream, or a whole answer. Returns whether it contained text.
    pub(super) fn add(&mut self, chunk: &Value) -> Result<bool, AnswerError> {
        let choice = choice(chunk);
        let error = reported(chunk, choice);
        if error.is_some() && self.has_finish() {
            // What fails after its last word is whole.
            return Ok(false);
        }
        if let Some(error) = error {
            return Err(AnswerError::Reported(Box::new(ServerError::in_answer(error))));
        }
        if !self.any && choice.is_null() {
            self.bare = Some(line(&chunk.to_string(), 300));
        }
        self.any = true;
        self.has_choice |= !choice.is_null();
        if let Some(model) = chunk["model"].as_str() {
            self.reply.model = model.into();
        }
        // A server may send counts with each chunk: the last ones hold.
        self.reply.tokens = tokens(chunk).or(self.reply.tokens);
        let word = finish::word(choice).filter(|word| finish::reason(word) != Reason::None);
        let before = self.reply.finish_reason.take();
        self.reply.finish_reason = match (before, word) {
            (Some(before), Some(word)) if self.outlasts(&before, &word) => Some(before),
            (before, word) => word.or(before),
        };
        Ok(self.words(choice))
    }

    /// Returns the assembled answer. A stream that was cut off looks like one that
    /// ended; only the finish reason shows that the answer is complete.
    pub(super) fn done(mut self) -> Result<Reply, AnswerError> {
        let mut finish = self.ended()?;
        if !self.refusal.is_empty() {
            finish = Finish::Refused;
            self.reply.text = self.refusal;
        }
        let (inline, text) = split_reasoning(&joined(self.reply.text));
        let reasoning = (!self.reasoning.is_empty()).then(|| joined(self.reasoning));
        let calls = self
            .calls
            .done()
            .into_iter()
            .map(|call| NativeCall { arguments: joined(call.arguments), ..call });
        Ok(Reply {
            text,
            reasoning: reasoning.or(inline),
            calls: calls.collect(),
            finish: Some(finish),
            ..self.reply
        })
    }

    /// Bytes of text so far.
    pub(super) fn size(&self) -> usize {
        self.reply.text.len() + self.reasoning.len() + self.refusal.len() + self.calls.size()
    }

    /// Whether nothing of an answer was read.
    pub(super) fn is_empty(&self) -> bool {
        !self.any
    }

    /// Whether the reason to stop was read.
    pub(super) fn has_reason(&self) -> bool {
        self.reply.finish_reason.is_some()
    }

    /// Whether the reason to stop was read, and is not that the server failed.
    pub(super) fn has_finish(&self) -> bool {
        let word = self.reply.finish_reason.as_deref();
        word.is_some_and(|word| matches!(self.meaning(word), Reason::Finish(_)))
    }

    /// What a server's word means, also by the user's profile.
    fn meaning(&self, word: &str) -> Reason {
        let known = self.reasons.get(word).copied().map(Reason::Finish);
        known.unwrap_or_else(|| finish::reason(word))
    }

    /// Whether an earlier reason to stop holds against a later one: some servers end each
    /// stream with `stop`, also one that was cut off before.
    fn outlasts(&self, before: &str, word: &str) -> bool {
        match self.meaning(before) {
            Reason::Failure => self.meaning(word) != Reason::Failure,
            Reason::Finish(Finish::Stop | Finish::ToolCall) | Reason::Unknown | Reason::None => {
                false
            }
            Reason::Finish(_) => {
                matches!(self.meaning(word), Reason::Finish(Finish::Stop | Finish::ToolCall))
            }
        }
    }

    /// Why the answer ended, as the model's part in it.
    fn ended(&self) -> Result<Finish, AnswerError> {
        if let (false, Some(body)) = (self.has_choice, &self.bare) {
            return Err(AnswerError::Broken(format!("the answer has no choices: {body}")));
        }
        let Some(word) = &self.reply.finish_reason else {
            let why = "the answer ended before it was whole: it gives no reason to stop";
            return Err(AnswerError::Broken(why.into()));
        };
        match self.meaning(word) {
            Reason::Finish(finish) => Ok(finish),
            Reason::Unknown | Reason::None => Err(AnswerError::UnknownReason(word.clone())),
            Reason::Failure => Err(AnswerError::Broken(format!(
                "the server failed before the answer was whole: finish_reason `{word}`"
            ))),
        }
    }

    /// Adds the words of a chunk, or of a whole message in place of one.
    fn words(&mut self, choice: &Value) -> bool {
        let before = self.size();
        let (delta, message) = (&choice["delta"], &choice["message"]);
        let words = Words::of(delta);
        let in_parts = !words.is_empty() || !delta["tool_calls"].is_null() || message.is_null();
        if in_parts {
            self.reply.text += &words.text;
            self.reply.text += choice["text"].as_str().unwrap_or_default();
            self.reasoning += &words.reasoning;
            self.refusal += &words.refusal;
        } else {
            let whole = Words::of(message);
            grow(&mut self.reply.text, whole.text);
            grow(&mut self.reasoning, whole.reasoning);
            grow(&mut self.refusal, whole.refusal);
        }
        let message = if in_parts { delta } else { message };
        // A whole message after its parts repeats their calls.
        if in_parts || self.calls.is_empty() {
            self.calls.add(message, in_parts);
        }
        self.size() > before
    }
}

/// Adds the text of a whole message: it may repeat what was read before.
fn grow(text: &mut String, whole: String) {
    match whole.starts_with(text.as_str()) {
        true => *text = whole,
        false => *text += &whole,
    }
}

/// The first choice; we ask for one.
fn choice(answer: &Value) -> &Value {
    let choices = answer["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
    let first = choices.iter().find(|choice| choice["index"] == 0);
    first.or(choices.first()).unwrap_or(&Value::Null)
}

/// The error that a chunk or an answer reports, in the forms that servers use.
fn reported(answer: &Value, choice: &Value) -> Option<Value> {
    let given = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) => true,
    };
    if given(&choice["error"]) {
        return Some(json!({ "error": choice["error"] }));
    }
    let words = ["message", "msg"].map(|key| &answer[key]);
    let words = words.into_iter().any(|words| words.is_string() && given(words));
    let instead = !given(&answer["choices"]) && (words || given(&answer["detail"]));
    let named = ["error", "errors", "error_msg", "error_code"].map(|key| given(&answer[key]));
    let is_error = named.contains(&true)
        || given(&answer["base_resp"]["status_code"])
        || answer["object"] == "error"
        || instead;
    is_error.then(|| answer.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stream(chunks: &[Value]) -> Result<Reply, AnswerError> {
        let mut parts = Parts::default();
        for chunk in chunks {
            parts.add(chunk)?;
        }
        parts.done()
    }

    fn whole(answer: &Value) -> Result<Reply, AnswerError> {
        stream(std::slice::from_ref(answer))
    }

    fn chunk(delta: Value, finish: Option<&str>) -> Value {
        json!({ "model": "m", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
    }

    #[test]
    fn a_stream_and_a_whole_answer_are_the_same() {
        let usage = json!({ "prompt_tokens": 9, "completion_tokens": 5,
            "prompt_tokens_details": { "cached_tokens": 4 },
            "completion_tokens_details": { "reasoning_tokens": 2 } });
        let call = |arguments: &str| {
            json!([{ "index": 0, "id": "c", "type": "function",
            "function": { "name": "view", "arguments": arguments } }])
        };
        let rest = json!([{ "index": 0, "function": { "arguments": "1}" } }]);
        let streamed = stream(&[
            chunk(json!({ "role": "assistant", "reasoning_content": "so " }), None),
            chunk(json!({ "reasoning_content": "so" }), None),
            chunk(json!({ "content": "a" }), None),
            chunk(json!({ "content": "b", "tool_calls": call("{\"x\":") }), None),
            chunk(json!({ "tool_calls": rest }), Some("tool_calls")),
            json!({ "model": "m", "choices": [], "usage": usage }),
        ]);
        let message = json!({ "role": "assistant", "content": "ab", "reasoning_content": "so so",
            "tool_calls": call("{\"x\":1}") });
        let whole = whole(&json!({ "model": "m", "usage": usage,
            "choices": [{ "index": 0, "message": message, "finish_reason": "tool_calls" }] }));
        let tokens = Tokens { prompt: 9, cached: 4, completion: 5, reasoning: 2, estimated: false };
        let call = NativeCall {
            id: Some("c".into()),
            name: "view".into(),
            arguments: "{\"x\":1}".into(),
            extra_content: None,
        };
        let expected = Reply {
            model: "m".into(),
            text: "ab".into(),
            reasoning: Some("so so".into()),
            calls: vec![call],
            finish: Some(Finish::ToolCall),
            finish_reason: Some("tool_calls".into()),
            tokens: Some(tokens),
            ..Reply::default()
        };
        assert_eq!(streamed.as_ref(), Ok(&expected));
        assert_eq!(whole, streamed);
    }

    #[test]
    fn reasoning_is_found_wherever_a_server_puts_it() {
        for delta in [
            json!({ "content": "b", "reasoning_content": "a" }),
            json!({ "content": "b", "reasoning": "a" }),
            json!({ "content": "b", "reasoning": "a", "reasoning_content": "a" }),
            json!({ "content": "<think>\na\n</think>\n\nb" }),
        ] {
            let reply = stream(&[chunk(delta.clone(), Some("stop"))]).unwrap();
            assert_eq!((reply.reasoning.as_deref(), &*reply.text), (Some("a"), "b"), "{delta}");
        }
    }

    #[test]
    fn an_answer_ends_as_what_it_is() {
        let check = |delta: Value, reason: &str, expected: Finish| {
            let reply = stream(&[chunk(delta, Some(reason))]).unwrap();
            assert_eq!(reply.finish, Some(expected));
        };
        check(json!({ "content": "a" }), "stop", Finish::Stop);
        check(json!({ "content": "a" }), "length", Finish::Length);
        check(json!({ "content": "a" }), "content_filter", Finish::Filtered);
        check(json!({ "refusal": "no" }), "stop", Finish::Refused);
        let fails = |chunks: &[Value], expected: &str| {
            let why = stream(chunks).unwrap_err().to_string();
            assert!(why.contains(expected), "{why}");
        };
        let text = || json!({ "content": "a" });
        fails(&[chunk(text(), None)], "before it was whole");
        fails(&[chunk(text(), Some(""))], "before it was whole");
        fails(&[chunk(text(), Some("null"))], "before it was whole");
        fails(&[chunk(text(), Some("abort"))], "finish_reason `abort`");
        fails(&[chunk(text(), Some("weird"))], "`weird`, which is not in our list");
        fails(&[json!({ "error": { "message": "no memory" } })], "no memory");
        fails(&[json!({ "object": "error", "message": "no memory" })], "no memory");
        fails(&[json!({ "detail": "no memory" })], "no memory");
        fails(&[json!({ "choices": [{ "error": { "message": "no memory" } }] })], "no memory");
        fails(&[json!({ "choices": [] })], "has no choices: {\"choices\":[]}");
        fails(&[json!({ "choices": [] }), chunk(text(), None)], "before it was whole");
        fails(&[chunk(text(), Some("error")), chunk(json!({}), Some("stop"))], "`error`");
        fails(&[chunk(text(), Some("error")), chunk(json!({}), Some("length"))], "`error`");
    }

    #[test]
    fn a_later_stop_does_not_hide_how_an_answer_was_cut_off() {
        let check = |first: &str, then: &str, expected: (Finish, &str)| {
            let chunks =
                [chunk(json!({ "content": "a" }), Some(first)), chunk(json!({}), Some(then))];
            let reply = stream(&chunks).unwrap();
            let found = (reply.finish.unwrap(), reply.finish_reason.unwrap());
            assert_eq!(found, (expected.0, expected.1.to_string()), "{first}, {then}");
        };
        check("length", "stop", (Finish::Length, "length"));
        check("content_filter", "stop", (Finish::Filtered, "content_filter"));
        check("length", "tool_calls", (Finish::Length, "length"));
        check("stop", "length", (Finish::Length, "length"));
        check("stop", "tool_calls", (Finish::ToolCall, "tool_calls"));
        check("weird", "stop", (Finish::Stop, "stop"));
    }

    #[test]
    fn a_profile_explains_a_word() {
        let mut parts = Parts::default();
        parts.know(&BTreeMap::from([("weird".into(), Finish::Length)]));
        parts.add(&chunk(json!({ "content": "a" }), Some("weird"))).unwrap();
        let reply = parts.done().unwrap();
        let word = reply.finish_reason.as_deref();
        assert_eq!((reply.finish, word), (Some(Finish::Length), Some("weird")));
    }

    #[test]
    fn a_whole_message_is_an_answer_and_repeats_nothing() {
        let check = |chunks: &[Value]| {
            let reply = stream(chunks).unwrap();
            assert_eq!((&*reply.text, reply.reasoning.as_deref()), ("ab", Some("so")));
        };
        let message = |text: &str| {
            let message = json!({ "role": "assistant", "content": text, "reasoning": "so" });
            json!({ "choices": [{ "message": message, "finish_reason": "stop" }] })
        };
        let parts = [
            chunk(json!({ "reasoning": "so", "content": "a" }), None),
            chunk(json!({ "content": "b" }), None),
        ];
        check(&[message("ab")]);
        check(&[message("a"), message("ab")]);
        check(&[parts[0].clone(), parts[1].clone(), message("ab")]);
        let both = |delta: &str, whole: &str, reasoning: &str| {
            let mut both = message(whole);
            both["choices"][0]["delta"] = json!({ "content": delta, "reasoning": reasoning });
            both
        };
        check(&[both("a", "a", "so"), both("b", "ab", "")]);
    }
}
