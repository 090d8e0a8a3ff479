//! What a server is sent.

use fixfly_runtime::{Call, Message, Role, ThinkingMode, ThinkingSwitch, View, told};
use serde_json::{Map, Value, json};

use super::profile::{LimitField, Resolved};
use crate::settings::CallForm;

/// Seeds are signed numbers to some servers.
const SEEDS: u64 = 1 << 31;

/// The body of a request for the next action. The same view gives the same
/// bytes, so an answer that was paid for is found again by them.
pub(crate) fn request(teacher: &Resolved, calls: CallForm, view: &View<'_>) -> Value {
    let messages = told(view.messages(), teacher.thinking);
    let tools = (calls == CallForm::Native).then(|| tools(view));
    body(teacher, conversation(messages, calls, view), tools, view.seed)
}

/// The body of a request for words.
pub(crate) fn words(teacher: &Resolved, messages: &[Message], seed: u64) -> Value {
    let messages = told(messages.to_vec(), teacher.thinking);
    body(teacher, json!(messages), None, seed)
}

fn body(teacher: &Resolved, messages: Value, tools: Option<Value>, chance: u64) -> Value {
    let mut body = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(key.into(), value);
        }
    };
    put("model", Some(json!(teacher.model)));
    put("messages", Some(messages));
    let sampling = &teacher.sampling;
    put("temperature", sampling.temperature.map(Value::from));
    put("top_p", sampling.top_p.map(Value::from));
    put("top_k", sampling.top_k.map(Value::from));
    put("seed", seed(teacher, chance).map(Value::from));
    let limit = match teacher.profile.limit_field {
        LimitField::MaxTokens => "max_tokens",
        LimitField::MaxCompletionTokens => "max_completion_tokens",
    };
    put(limit, sampling.max_tokens.map(Value::from));
    if teacher.stream {
        put("stream", Some(json!(true)));
        put("stream_options", Some(json!({ "include_usage": true })));
    }
    if let Some(tools) = tools {
        put("tools", Some(tools));
        put("parallel_tool_calls", Some(json!(false)));
    }
    if teacher.thinking.told_by == ThinkingSwitch::Template {
        let enable = teacher.thinking.mode == ThinkingMode::Think;
        put("chat_template_kwargs", Some(json!({ "enable_thinking": enable })));
    }
    for (key, value) in &teacher.profile.extra {
        put(key, Some(value.clone()));
    }
    Value::Object(body)
}

/// The seed a server is sent for an episode's seed, if it takes one.
pub(crate) fn seed(teacher: &Resolved, seed: u64) -> Option<u64> {
    teacher.takes_seed().then_some(seed % SEEDS)
}

fn tools(view: &View<'_>) -> Value {
    let tool = |spec: fixfly_runtime::ToolSpec| {
        json!({ "type": "function", "function": {
            "name": spec.name, "description": spec.description, "parameters": spec.parameters,
        }})
    };
    view.specs().into_iter().map(tool).collect()
}

/// The messages; where tools are called natively, each of the model's turns
/// that called one is said as a call, and what came of it as its result.
fn conversation(messages: Vec<Message>, calls: CallForm, view: &View<'_>) -> Value {
    let mut said = Vec::new();
    let mut turns = view.shown().into_iter();
    let mut called: Option<String> = None;
    for message in messages {
        match message.role {
            Role::System => said.push(json!({ "role": "system", "content": message.content })),
            Role::Assistant => {
                let call = turns.next().map(|turn| &turn.action.call);
                let mut own = json!({ "role": "assistant", "content": message.content });
                if let (CallForm::Native, Some(Call::Tool { name, args })) = (calls, call) {
                    let id = format!("call_{}", said.len());
                    own["tool_calls"] = json!([{ "id": id, "type": "function", "function": {
                        "name": name, "arguments": args.to_string(),
                    }}]);
                    called = Some(id);
                }
                said.push(own);
            }
            Role::User => said.push(match called.take() {
                Some(id) => {
                    json!({ "role": "tool", "tool_call_id": id, "content": message.content })
                }
                None => json!({ "role": "user", "content": message.content }),
            }),
        }
    }
    Value::Array(said)
}

/// No fewer tokens than the request has, nearly always: code has some three
/// bytes a token and more.
pub(crate) fn tokens_at_most(body: &Value) -> u64 {
    bytes(body) / 2 + 64
}

/// No more tokens than the request has.
pub(crate) fn tokens_at_least(body: &Value) -> u64 {
    bytes(body) / 8
}

fn bytes(body: &Value) -> u64 {
    (body["messages"].to_string().len() + body["tools"].to_string().len()) as u64
}
