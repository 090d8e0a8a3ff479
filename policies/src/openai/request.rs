//! Builds the requests to a server.

use std::collections::BTreeSet;

use fixfly_runtime::{
    Action, Call, CallForm, Message, NativeCall, Role, Sampling, ThinkingMode, ThinkingSwitch,
    View, with_thinking_switch,
};
use serde_json::{Map, Value, json};

use super::profile::{ReasoningField, Resolved};

/// Some servers read seeds as signed 32-bit numbers.
const SEEDS: u64 = 1 << 31;
/// The content of an answer without any: servers refuse a message that has neither content
/// nor calls.
const EMPTY: &str = "(empty answer)";

/// The body of a request for the next action. The same view gives the same bytes,
/// so an answer that was paid for can be found by them.
pub(crate) fn request(remote: &Resolved, calls: CallForm, view: &View<'_>) -> Value {
    let messages = with_thinking_switch(view.messages(), remote.thinking);
    let tools = (calls == CallForm::Native).then(|| tools(view));
    let reasoning = remote.profile.send_reasoning.as_ref();
    let sampling = remote.sampling_at(view.turns.len());
    body(remote, &sampling, conversation(messages, calls, reasoning, view), tools, view.seed)
}

/// The body of a request for a completion.
pub(crate) fn words(remote: &Resolved, messages: &[Message], seed: u64) -> Value {
    let messages = with_thinking_switch(messages.to_vec(), remote.thinking);
    body(remote, &remote.sampling, json!(messages), None, seed)
}

fn body(
    remote: &Resolved,
    sampling: &Sampling,
    messages: Value,
    tools: Option<Value>,
    chance: u64,
) -> Value {
    let mut body = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(key.into(), value);
        }
    };
    put("model", Some(json!(remote.model)));
    put("messages", Some(messages));
    put("temperature", sampling.temperature.map(Value::from));
    put("top_p", sampling.top_p.map(Value::from));
    put("top_k", sampling.top_k.map(Value::from));
    put("seed", seed(remote, chance).map(Value::from));
    put(remote.profile.limit_field.key(), sampling.max_tokens.map(Value::from));
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
    for field in &remote.profile.omit {
        body.remove(field.key());
    }
    body.extend(remote.profile.extra.clone());
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

/// The messages. With native calls, a turn that called a tool natively becomes a tool call,
/// and its observation becomes the result of the call.
fn conversation(
    messages: Vec<Message>,
    form: CallForm,
    reasoning: Option<&ReasoningField>,
    view: &View<'_>,
) -> Value {
    let mut sent = Vec::new();
    let mut turns = view.shown().into_iter();
    let mut called: Vec<String> = Vec::new();
    let mut ids = BTreeSet::new();
    for message in messages {
        match message.role {
            Role::System => sent.push(json!({ "role": "system", "content": message.content })),
            Role::Assistant => {
                let action = turns.next().map(|turn| &turn.action);
                let native = action.filter(|_| form == CallForm::Native);
                let Spoken { content, calls } = match native {
                    Some(action) => spoken(message.content, action),
                    None => Spoken { content: message.content, calls: Vec::new() },
                };
                let empty = content.trim().is_empty() && calls.is_empty();
                let content = if empty { EMPTY.to_string() } else { content };
                let mut own = json!({ "role": "assistant", "content": content });
                called = calls.iter().map(|call| unused(call, sent.len(), &mut ids)).collect();
                if !calls.is_empty() {
                    own["tool_calls"] = calls.iter().zip(&called).map(as_sent).collect();
                }
                add_reasoning(&mut own, reasoning, action);
                sent.push(own);
            }
            Role::User if called.is_empty() => {
                sent.push(json!({ "role": "user", "content": message.content }));
            }
            // Each call needs a result of its own.
            Role::User => sent.extend(called.drain(..).map(
                |id| json!({ "role": "tool", "tool_call_id": id, "content": message.content }),
            )),
        }
    }
    Value::Array(sent)
}

/// What the model sent in one turn.
struct Spoken {
    content: String,
    calls: Vec<NativeCall>,
}

/// The words and calls of a turn, as the model sent them. Servers parse the arguments of
/// earlier calls and check their names, so other calls are shown in the content.
fn spoken(content: String, action: &Action) -> Spoken {
    let generation = action.generation.as_ref();
    let (sent, repaired) = generation.map_or((&[][..], &[][..]), |generation| {
        (&generation.native_calls[..], &generation.repaired[..])
    });
    match (&action.call, sent) {
        (Call::Tool { name, args }, [call]) => {
            // Requests of runs that recorded no ids keep their bytes.
            let word_for_word = call.id.is_some() && repaired.is_empty();
            let arguments = match call.arguments.trim() {
                arguments if word_for_word && !arguments.is_empty() => call.arguments.clone(),
                _ => args.to_string(),
            };
            let call = NativeCall { name: name.clone(), arguments, ..call.clone() };
            Spoken::of(content, vec![call])
        }
        (Call::Tool { .. } | Call::Submit, _) | (_, []) => Spoken { content, calls: Vec::new() },
        (Call::Malformed(_), calls) => Spoken::of(content, calls.to_vec()),
    }
}

impl Spoken {
    /// Words and calls; calls that a server may refuse are shown in the words.
    fn of(content: String, calls: Vec<NativeCall>) -> Spoken {
        if calls.iter().all(is_sendable) {
            return Spoken { content, calls };
        }
        let shown = calls.iter().map(|call| {
            let (name, arguments) = (json!(call.name), &call.arguments);
            format!("<tool_call>{{\"name\": {name}, \"arguments\": {arguments}}}</tool_call>")
        });
        let content = Some(content).filter(|content| !content.trim().is_empty());
        let content = content.into_iter().chain(shown).collect::<Vec<_>>().join("\n");
        Spoken { content, calls: Vec::new() }
    }
}

/// Whether servers take a call in a request: OpenAI's refuse other names.
fn is_sendable(call: &NativeCall) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let object = serde_json::from_str::<Map<String, Value>>(&call.arguments);
    object.is_ok() && (1..=64).contains(&call.name.len()) && call.name.chars().all(is_part)
}

/// The call's own id, unless an earlier call of the conversation has it.
fn unused(call: &NativeCall, message: usize, ids: &mut BTreeSet<String>) -> String {
    let own = call.id.clone().filter(|id| ids.insert(id.clone()));
    own.unwrap_or_else(|| {
        let made = (0..).map(|count| match count {
            0 => format!("call_{message}"),
            count => format!("call_{message}_{count}"),
        });
        made.into_iter().find(|id| ids.insert(id.clone())).unwrap_or_default()
    })
}

fn as_sent((call, id): (&NativeCall, &String)) -> Value {
    let mut sent = json!({ "id": id, "type": "function", "function": {
        "name": call.name, "arguments": call.arguments,
    }});
    if let Some(extra) = &call.extra_content {
        sent["extra_content"] = extra.clone();
    }
    sent
}

/// Adds the reasoning of an earlier answer where the profile asks for it. A server that
/// needs the field needs it in every answer.
fn add_reasoning(message: &mut Value, field: Option<&ReasoningField>, action: Option<&Action>) {
    let reasoning = action.and_then(|action| action.reasoning.as_deref());
    match (field, reasoning) {
        (Some(ReasoningField::Named(field)), reasoning) => {
            message[field] = json!(reasoning.unwrap_or_default());
        }
        (Some(ReasoningField::ThinkTags), Some(reasoning)) => {
            let content = message["content"].as_str().unwrap_or_default();
            message["content"] = json!(format!("<think>\n{reasoning}\n</think>\n\n{content}"));
        }
        (Some(ReasoningField::ThinkTags), None) | (None, _) => {}
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_servers_refuse_is_sent_as_words() {
        let check = |name: &str, arguments: &str, expected: bool| {
            let call = NativeCall {
                name: name.into(),
                arguments: arguments.into(),
                ..NativeCall::default()
            };
            let Spoken { content, calls } = Spoken::of("So:".into(), vec![call]);
            assert_eq!(calls.len(), usize::from(expected), "{name} {arguments}");
            let shown = format!(
                "So:\n<tool_call>{{\"name\": {}, \"arguments\": {arguments}}}</tool_call>",
                json!(name)
            );
            assert_eq!(content, if expected { "So:".to_string() } else { shown });
        };
        check("bash", "{}", true);
        check("a-B_1", "{\"a\": 1}", true);
        check(&"x".repeat(64), "{}", true);
        check("run shell", "{}", false);
        check("bash\"}", "{}", false);
        check("größe", "{}", false);
        check(&"x".repeat(65), "{}", false);
        check("", "{}", false);
        check("bash", "{", false);
        check("bash", "[]", false);
    }

    #[test]
    fn what_a_server_added_to_a_call_is_sent_back() {
        let extra = json!({ "google": { "thought_signature": "s" } });
        let call = NativeCall { extra_content: Some(extra.clone()), ..NativeCall::default() };
        let sent = as_sent((&call, &"c".to_string()));
        assert_eq!((&sent["id"], &sent["extra_content"]), (&json!("c"), &extra));
        let sent = as_sent((&NativeCall::default(), &"c".to_string()));
        assert!(sent.get("extra_content").is_none());
    }
}
