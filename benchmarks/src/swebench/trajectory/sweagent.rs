//! SWE-agent's `.traj`: the steps, the conversation, and how it ended.

use std::collections::BTreeMap;

use fixfly_runtime::{
    Call, Episode, Message, Outcome, Role, Timings, Turn, Usage, parse_json,
    replace_lone_surrogates,
};
use serde_json::{Map, Value, json};

use super::{BASH, Form, ModelOutput, Parsed, command, end, string, text, thinking, turn};

const CLOSING: &str = "closing notes of the agent, no step of the model's";
const ASKED_AGAIN: &str = "steps after which the model was asked again";
const IN_WORDS: &str = "calls in words, kept as commands of `bash`";
const ATTEMPTS: &str = "other attempts in the same file, left out";

pub(super) fn read(value: &Value) -> Result<Parsed, String> {
    let list = |key: &str| value.get(key).and_then(Value::as_array).map(Vec::as_slice);
    let steps = list("trajectory").ok_or("it has no list `trajectory`")?;
    let history = list("history").unwrap_or_default();
    let exit_status = string(value, "/info/exit_status");
    let mut remarks = BTreeMap::new();
    let (closing, steps) = match steps.split_last() {
        Some((last, before)) if is_closing(last, exit_status.as_deref()) => (Some(last), before),
        _ => (None, steps),
    };
    let mut conversation = Conversation::new(history);
    let mut turns = Vec::with_capacity(steps.len());
    for (at, step) in steps.iter().enumerate() {
        if !step.is_object() {
            return Err(format!("step {} is no object", at + 1));
        }
        turns.push(taken(step, &mut conversation, &mut remarks));
    }
    if let Some(last) = turns.last_mut().filter(|_| closing.is_none()) {
        let handed_in = matches!(&last.action.call, Call::Tool { name, .. } if name == "submit");
        if handed_in && exit_status.as_deref() == Some("submitted") {
            last.observation.outcome = Outcome::Submitted;
        }
    }
    let others = list("attempts").map_or(0, |all| all.len().saturating_sub(1));
    for (remark, times) in [(CLOSING, usize::from(closing.is_some())), (ATTEMPTS, others)] {
        if times > 0 {
            remarks.insert(remark, times);
        }
    }
    let asked = history.iter().find(|item| role(item) == "user" && !is_demo(item));
    let replayed = match value.get("replay_config") {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        other => other.cloned().unwrap_or_default(),
    };
    let totals = value.pointer("/info/model_stats").and_then(Value::as_object);
    Ok(Parsed {
        form: Form::SweAgent,
        agent: "SWE-agent".to_string(),
        own: None,
        version: string(value, "/info/swe_agent_version"),
        model: string(&replayed, "/agent/model/name"),
        asked: asked.map(|item| text(item.get("content"))),
        root: steps.first().and_then(folder),
        end: end::by_sweagent(
            exit_status.as_deref(),
            closing.and_then(|note| string(note, "/response")).as_deref(),
        ),
        exit_status,
        submission: string(value, "/info/submission"),
        totals: totals.cloned().unwrap_or_default(),
        limits: (None, None),
        time: None,
        turns,
        remarks,
    })
}

fn role(item: &Value) -> &str {
    item.get("role").and_then(Value::as_str).unwrap_or_default()
}

fn is_demo(item: &Value) -> bool {
    item.get("is_demo").and_then(Value::as_bool).unwrap_or_default()
}

/// Whether the last step is the agent's own note about why it stopped.
fn is_closing(step: &Value, status: Option<&str>) -> bool {
    let part = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default();
    let stopped =
        status.is_some_and(|status| status.starts_with("exit_") || status.contains("(exit_"));
    stopped && part("action").is_empty() && part("thought") == part("response")
}

/// The working directory of a step; older files store the state as text.
fn folder(step: &Value) -> Option<String> {
    let state = match step.get("state")? {
        Value::String(text) => serde_json::from_str(text).ok()?,
        state => state.clone(),
    };
    string(&state, "/working_dir").filter(|folder| folder.starts_with('/'))
}

/// The model's messages in order; each step finds its own.
struct Conversation<'a> {
    messages: Vec<&'a Value>,
    next: usize,
}

impl<'a> Conversation<'a> {
    fn new(history: &'a [Value]) -> Self {
        let is_model = |item: &&Value| role(item) == "assistant" && !is_demo(item);
        Conversation { messages: history.iter().filter(is_model).collect(), next: 0 }
    }

    fn find(&mut self, step: &Value) -> Option<&'a Value> {
        let action = step.get("action").and_then(Value::as_str).unwrap_or_default();
        let response = string(step, "/response").unwrap_or_default();
        let thought = string(step, "/thought").unwrap_or_default();
        let is_its = |item: &&&Value| {
            let content = text(item.get("content"));
            let same = content == response || content == thought;
            same && item.get("action").and_then(Value::as_str).unwrap_or_default() == action
        };
        let at = self.messages[self.next..].iter().position(|item| is_its(&item))?;
        self.next += at + 1;
        Some(self.messages[self.next - 1])
    }
}

fn taken(
    step: &Value,
    conversation: &mut Conversation<'_>,
    remarks: &mut BTreeMap<&'static str, usize>,
) -> Turn {
    let message = conversation.find(step);
    let part = |key: &str| text(step.get(key));
    let mut text = part("response");
    if text.is_empty() {
        text = part("thought");
    }
    let observation = part("observation");
    let call = match message.and_then(native) {
        Some(call) => call,
        None if part("action").trim().is_empty() => Call::Malformed(match observation.as_str() {
            "" => "its words could not be read as a call".to_string(),
            why => why.to_string(),
        }),
        None => in_words(&part("action"), remarks),
    };
    let is_malformed = matches!(call, Call::Malformed(_));
    let asked_again = message.is_none() && !conversation.messages.is_empty();
    if asked_again {
        *remarks.entry(ASKED_AGAIN).or_default() += 1;
    }
    let seconds = step.get("execution_time").and_then(Value::as_f64).unwrap_or_default();
    let timings = Timings { act_ms: 0, call_ms: (seconds * 1e3) as u64 };
    let outcome = if is_malformed || asked_again { Outcome::Refused } else { Outcome::Done };
    let usage = Usage { calls: 1, ..Usage::default() };
    let reasoning = message.and_then(thinking);
    let output = ModelOutput { text, reasoning, usage, generation: None };
    turn(output.with_call(call), observation, outcome, timings)
}

/// The call that a message makes by name.
fn native(message: &Value) -> Option<Call> {
    let call = message.get("tool_calls")?.as_array()?.first()?;
    let name = string(call, "/function/name")?;
    let args = match call.pointer("/function/arguments")? {
        Value::String(text) => {
            let mut args = parse_json(text).ok()?;
            replace_lone_surrogates(&mut args);
            args
        }
        args => args.clone(),
    };
    Some(Call::Tool { name, args })
}

/// A call in the text: SWE-agent types it into its shell.
fn in_words(action: &str, remarks: &mut BTreeMap<&'static str, usize>) -> Call {
    if action.trim() == "submit" {
        return Call::Tool { name: "submit".to_string(), args: json!({}) };
    }
    *remarks.entry(IN_WORDS).or_default() += 1;
    command(action)
}

/// Converts an episode to SWE-agent's format. `prompt` is what the policy saw before its
/// first turn.
///
/// Each step's `query` is empty: the whole conversation is in `history`.
pub fn write(episode: &Episode, prompt: &[Message]) -> Value {
    let mut history: Vec<Value> = prompt.iter().map(history_item).collect();
    let mut steps = Vec::with_capacity(episode.turns.len());
    for (at, turn) in episode.turns.iter().enumerate() {
        history.extend(exchanged(turn, &format!("call_{}", at + 1)));
        steps.push(json!({
            "action": action(&turn.action.call),
            "observation": turn.observation.text,
            "response": turn.action.text,
            "thought": thought(turn),
            "execution_time": turn.timings.call_ms as f64 / 1e3,
            "state": {},
            "query": [],
            "extra_info": {},
        }));
    }
    json!({
        "trajectory": steps,
        "history": history,
        "info": {
            "model_stats": totals(episode),
            "exit_status": end::to_sweagent(&episode.end, episode.patch.is_some()),
            "submission": episode.patch,
        },
        "replay_config": null,
        "environment": episode.task.statement.issue().map(|issue| &issue.repo),
        "instance_id": episode.task.id,
    })
}

fn history_item(message: &Message) -> Value {
    let kind = match message.role {
        Role::System => "system_prompt",
        Role::User | Role::Assistant => "observation",
    };
    json!({ "role": message.role, "content": message.content, "agent": "main", "message_type": kind })
}

/// The two messages of a turn.
fn exchanged(turn: &Turn, id: &str) -> [Value; 2] {
    let mut output = json!({
        "role": "assistant", "content": turn.action.text, "thought": thought(turn),
        "action": action(&turn.action.call), "agent": "main", "message_type": "action",
    });
    let mut seen = json!({
        "role": "user", "content": turn.observation.text, "agent": "main",
        "message_type": "observation",
    });
    if let Some(reasoning) = &turn.action.reasoning {
        output["thinking_blocks"] = json!([{ "type": "thinking", "thinking": reasoning }]);
    }
    if let Call::Tool { name, args } = &turn.action.call {
        output["tool_calls"] = json!([{ "type": "function", "id": id,
            "function": { "name": name, "arguments": args.to_string() } }]);
        seen["role"] = json!("tool");
        seen["tool_call_ids"] = json!([id]);
    }
    [output, seen]
}

/// A malformed answer has no thought.
fn thought(turn: &Turn) -> &str {
    match turn.action.call {
        Call::Malformed(_) => "",
        Call::Tool { .. } | Call::Submit => &turn.action.text,
    }
}

/// A call in readable form: commands as they are, other calls by name.
fn action(call: &Call) -> String {
    match call {
        Call::Tool { name, args } if name == BASH => {
            args.get("command").and_then(Value::as_str).unwrap_or_default().to_string()
        }
        Call::Tool { name, args } if args.as_object().is_none_or(Map::is_empty) => name.clone(),
        Call::Tool { name, args } => format!("{name} {args}"),
        Call::Submit => "submit".to_string(),
        Call::Malformed(_) => String::new(),
    }
}

/// Total calls, tokens and dollars, as far as they are known.
fn totals(episode: &Episode) -> Value {
    let actions = || episode.turns.iter().map(|turn| &turn.action);
    let mut totals = json!({ "api_calls": actions().map(|a| a.usage.calls).sum::<u32>() });
    if actions().any(|action| action.generation.is_some()) {
        totals["tokens_sent"] = json!(actions().map(|a| a.usage.prompt_tokens).sum::<u64>());
        totals["tokens_received"] =
            json!(actions().map(|a| a.usage.completion_tokens).sum::<u64>());
    }
    if let Some(usd) = actions().map(|action| action.usage.usd).sum::<Option<f64>>() {
        totals["instance_cost"] = json!(usd);
    }
    totals
}
