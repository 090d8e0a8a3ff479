//! Reads the answers of a server, whole or streamed.

use fixfly_runtime::{Finish, NativeCall};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::calls::Calls;
use crate::answer::split_reasoning;

/// An answer, as the journal keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// The model, as the server names it.
    pub(crate) model: String,
    pub(crate) text: String,
    pub(crate) reasoning: Option<String>,
    pub(crate) calls: Vec<NativeCall>,
    pub(crate) finish: Option<Finish>,
    pub(crate) tokens: Option<Tokens>,
    pub(crate) first_token_ms: Option<u64>,
    pub(crate) total_ms: u64,
}

/// Token counts of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tokens {
    pub(crate) prompt: u64,
    pub(crate) cached: u64,
    pub(crate) completion: u64,
    pub(crate) reasoning: u64,
}

/// Assembles an answer from its parts.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    reply: Reply,
    reasoning: String,
    refusal: String,
    calls: Calls,
}

impl Parts {
    /// Adds a chunk of a stream. Returns whether it contained text.
    pub(crate) fn add(&mut self, chunk: &Value) -> Result<bool, String> {
        self.common(chunk)?;
        let choice = &chunk["choices"][0];
        self.finish(choice);
        Ok(self.words(&choice["delta"], true))
    }

    /// Reads a whole answer.
    pub(crate) fn whole(answer: &Value) -> Result<Reply, String> {
        let mut parts = Parts::default();
        parts.common(answer)?;
        let choice = &answer["choices"][0];
        if choice.is_null() {
            return Err("the answer holds no choice".into());
        }
        parts.finish(choice);
        parts.words(&choice["message"], false);
        parts.done()
    }

    /// Returns the assembled answer. A stream that was cut off looks like one that
    /// ended; only the finish reason shows that the answer is complete.
    pub(crate) fn done(mut self) -> Result<Reply, String> {
        let Some(mut finish) = self.reply.finish else {
            return Err("the answer ended before it was whole: it gives no reason to stop".into());
        };
        if !self.refusal.is_empty() {
            finish = Finish::Refused;
            self.reply.text = self.refusal;
        }
        let (inline, text) = split_reasoning(&self.reply.text);
        let reasoning = (!self.reasoning.is_empty()).then_some(self.reasoning);
        Ok(Reply {
            text,
            reasoning: reasoning.or(inline),
            calls: self.calls.done(),
            finish: Some(finish),
            ..self.reply
        })
    }

    /// Bytes of text so far.
    pub(crate) fn size(&self) -> usize {
        self.reply.text.len() + self.reasoning.len() + self.calls.size()
    }

    fn common(&mut self, answer: &Value) -> Result<(), String> {
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            let message =
                error["message"].as_str().map_or_else(|| error.to_string(), str::to_string);
            return Err(format!("the server broke off: {message}"));
        }
        if let Some(model) = answer["model"].as_str() {
            self.reply.model = model.into();
        }
        if let Some(usage) = answer.get("usage").filter(|usage| usage.is_object()) {
            self.reply.tokens = Some(tokens(usage));
        }
        Ok(())
    }

    fn finish(&mut self, choice: &Value) {
        let finish = match choice["finish_reason"].as_str() {
            None => return,
            Some("length") => Finish::Length,
            Some("content_filter") => Finish::Filtered,
            Some("tool_calls" | "function_call") => Finish::ToolCall,
            Some(_) => Finish::Stop,
        };
        self.reply.finish = Some(finish);
    }

    fn words(&mut self, message: &Value, is_stream: bool) -> bool {
        let before = self.size();
        let text = |key: &str| message[key].as_str().unwrap_or_default();
        self.reply.text += text("content");
        // DeepSeek and older vLLM send the first field, OpenRouter and newer vLLM the
        // second. A server that sends both sends the same text.
        let reasoning = [text("reasoning_content"), text("reasoning")];
        self.reasoning += reasoning.into_iter().find(|part| !part.is_empty()).unwrap_or_default();
        self.refusal += text("refusal");
        self.calls.add(message, is_stream);
        self.size() > before
    }
}

fn tokens(usage: &Value) -> Tokens {
    let count = |pointers: &[&str]| {
        pointers.iter().find_map(|pointer| usage.pointer(pointer)?.as_u64()).unwrap_or_default()
    };
    Tokens {
        prompt: count(&["/prompt_tokens"]),
        cached: count(&["/prompt_tokens_details/cached_tokens", "/prompt_cache_hit_tokens"]),
        completion: count(&["/completion_tokens"]),
        reasoning: count(&["/completion_tokens_details/reasoning_tokens"]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stream(chunks: &[Value]) -> Result<Reply, String> {
        let mut parts = Parts::default();
        for chunk in chunks {
            parts.add(chunk)?;
        }
        parts.done()
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
        let whole = Parts::whole(&json!({ "model": "m", "usage": usage,
            "choices": [{ "index": 0, "message": message, "finish_reason": "tool_calls" }] }));
        let tokens = Tokens { prompt: 9, cached: 4, completion: 5, reasoning: 2 };
        let call =
            NativeCall { id: Some("c".into()), name: "view".into(), arguments: "{\"x\":1}".into() };
        let expected = Reply {
            model: "m".into(),
            text: "ab".into(),
            reasoning: Some("so so".into()),
            calls: vec![call],
            finish: Some(Finish::ToolCall),
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
        let cut = stream(&[chunk(json!({ "content": "a" }), None)]).unwrap_err();
        assert!(cut.contains("before it was whole"), "{cut}");
        let broke = stream(&[json!({ "error": { "message": "no memory" } })]).unwrap_err();
        assert!(broke.contains("no memory"), "{broke}");
        assert!(Parts::whole(&json!({ "choices": [] })).is_err());
    }
}
