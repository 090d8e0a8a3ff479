//! Builds the requests to a server.

use fixfly_runtime::{
    Call, Message, Role, ThinkingMode, ThinkingSwitch, View, with_thinking_switch,
};
use serde_json::{Map, Value, json};

use super::profile::{LimitField, Resolved};
use fixfly_runtime::CallForm;

/// Some servers read seeds as signed 32-bit numbers.
const SEEDS: u64 = 1 << 31;

/// The body of a request for the next action. The same view gives the same bytes,
/// so an answer that was paid for can be found by them.
pub(crate) fn request(remote: &Resolved, calls: CallForm, view: &View<'_>) -> Value {
    let messages = with_thinking_switch(view.messages(), remote.thinking);
    let tools = (calls == CallForm::Native).then(|| tools(view));
    body(remote, conversation(messages, calls, view), tools, view.seed)
}

/// The body of a request for a completion.
pub(crate) fn words(remote: &Resolved, messages: &[Message], seed: u64) -> Value {
    let messages = with_thinking_switch(messages.to_vec(), remote.thinking);
    body(remote, json!(messages), None, seed)
}

fn body(remote: &Resolved, messages: Value, tools: Option<Value>, chance: u64) -> Value {
    let mut body = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(key.into(), value);
        }
    };
    put("model", Some(json!(remote.model)));
    put("messages", Some(messages));
    let sampling = &remote.sampling;
    put("temperature", sampling.temperature.map(Value::from));
    put("top_p", sampling.top_p.map(Value::from));
    put("top_k", sampling.top_k.map(Value::from));
    put("seed", seed(remote, chance).map(Value::from));
    let limit = match remote.profile.limit_field {
        LimitField::MaxTokens => "max_tokens",
        LimitField::MaxCompletionTokens => "max_completion_tokens",
    };
    put(limit, sampling.max_tokens.map(Value::from));
    if remote.stream {
        put("stream", Some(json!(true)));
        put("stream_options", Some(json!({ "include_usage": true })));
    }
    if let Some(tools) = tools {
        put("tools", Some(tools));
        put("parallel_tool_calls", Some(json!(false)));
    }
    if remote.thinking.switch == ThinkingSwitch::Template {
        let enable = remote.thinking.mode == ThinkingMode::Think;
        put("chat_template_kwargs", Some(json!({ "enable_thinking": enable })));
    }
    for (key, value) in &remote.profile.extra {
        put(key, Some(value.clone()));
    }
    Value::Object(body)
}

/// The seed to send for an episode's seed, if the server accepts one.
pub(crate) fn seed(remote: &Resolved, seed: u64) -> Option<u64> {
    remote.takes_seed().then_some(seed % SEEDS)
}

fn tools(view: &View<'_>) -> Value {
    let tool = |spec: fixfly_runtime::ToolSpec| {
        json!({ "type": "function", "function": {
            "name": spec.name, "description": spec.description, "parameters": spec.parameters,
        }})
    };
    view.specs().into_iter().map(tool).collect()
}

/// The messages. With native calls, a turn that called a tool becomes a tool call,
/// and its observation becomes the result of the call.
fn conversation(messages: Vec<Message>, calls: CallForm, view: &View<'_>) -> Value {
    let mut sent = Vec::new();
    let mut turns = view.shown().into_iter();
    let mut called: Option<String> = None;
    for message in messages {
        match message.role {
            Role::System => sent.push(json!({ "role": "system", "content": message.content })),
            Role::Assistant => {
                let call = turns.next().map(|turn| &turn.action.call);
                let mut own = json!({ "role": "assistant", "content": message.content });
                if let (CallForm::Native, Some(Call::Tool { name, args })) = (calls, call) {
                    let id = format!("call_{}", sent.len());
                    own["tool_calls"] = json!([{ "id": id, "type": "function", "function": {
                        "name": name, "arguments": args.to_string(),
                    }}]);
                    called = Some(id);
                }
                sent.push(own);
            }
            Role::User => sent.push(match called.take() {
                Some(id) => {
                    json!({ "role": "tool", "tool_call_id": id, "content": message.content })
                }
                None => json!({ "role": "user", "content": message.content }),
            }),
        }
    }
    Value::Array(sent)
}

/// An upper bound of the request's tokens, nearly always: code has about three
/// bytes per token or more.
pub(crate) fn tokens_at_most(body: &Value) -> u64 {
    bytes(body) / 2 + 64
}

/// A lower bound of the request's tokens.
pub(crate) fn tokens_at_least(body: &Value) -> u64 {
    bytes(body) / 8
}

/// Bytes of the request that become tokens of the prompt.
pub(crate) fn bytes(body: &Value) -> u64 {
    (body["messages"].to_string().len() + body["tools"].to_string().len()) as u64
}
