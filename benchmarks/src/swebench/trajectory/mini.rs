//! mini-swe-agent's trajectories, format `mini-swe-agent-1.1`: the messages of a
//! conversation; each message's `extra` has the commands and the cost.

use std::collections::BTreeMap;

use fixfly_runtime::{
    Call, Finish, Generation, Limit, Outcome, Sampling, Thinking, Timings, Turn, Usage,
};
use serde_json::{Map, Value};

use super::{Form, ModelOutput, Parsed, command, end, string, text, thinking, turn};

pub(super) const FURTHER: &str = "calls that shared the words of the call before";
pub(super) const UNSEEN: &str = "observations that the file does not hold";
pub(super) const PERSON: &str = "messages of a person, left out";
const UNKNOWN: &str = "messages of an unknown kind, left out";

pub(super) fn read(value: &Value) -> Result<Parsed, String> {
    let messages = value.get("messages").and_then(Value::as_array);
    let messages = messages.ok_or("it has no list `messages`")?;
    let config = value.pointer("/info/config").unwrap_or(&Value::Null);
    let mut reading = Reading::default();
    for message in messages {
        reading.take(message);
    }
    let exit_status = string(value, "/info/exit_status").filter(|status| !status.is_empty());
    let totals = value.pointer("/info/model_stats").and_then(Value::as_object);
    let totals = totals.cloned().unwrap_or_default();
    let number = |pointer: &str| config.pointer(pointer).and_then(Value::as_f64);
    let steps = number("/agent/step_limit").filter(|limit| *limit > 0.0).map(|n| n as u32);
    let usd = number("/agent/cost_limit").filter(|limit| *limit > 0.0);
    let spent = spent(&totals, steps, usd);
    let why = reading.exit.as_ref().and_then(|exit| string(exit, "/extra/exception_str"));
    let why = why.or_else(|| string(value, "/info/exception_str"));
    reading.close(exit_status.as_deref() == Some("Submitted"));
    Ok(Parsed {
        form: Form::Mini,
        agent: "mini-swe-agent".to_string(),
        own: None,
        version: string(value, "/info/mini_version"),
        model: string(config, "/model/model_name"),
        root: string(config, "/environment/cwd").filter(|cwd| !cwd.is_empty()),
        end: end::by_mini(exit_status.as_deref(), why.as_deref(), spent),
        exit_status,
        submission: string(value, "/info/submission"),
        totals,
        limits: (steps, usd),
        time: reading.time(),
        asked: reading.asked,
        turns: reading.turns,
        remarks: reading.remarks,
    })
}

/// The limit that was reached, if calls and dollars show it.
fn spent(totals: &Map<String, Value>, steps: Option<u32>, usd: Option<f64>) -> Option<Limit> {
    let total = |key: &str| totals.get(key).and_then(Value::as_f64);
    if steps.zip(total("api_calls")).is_some_and(|(limit, calls)| calls >= f64::from(limit)) {
        return Some(Limit::Turns);
    }
    let cost = usd.zip(total("instance_cost"));
    cost.filter(|(limit, cost)| cost >= limit).map(|_| Limit::Usd)
}

#[derive(Default)]
struct Reading {
    asked: Option<String>,
    turns: Vec<Turn>,
    /// Turns that wait for their observation, by the id of their call.
    waiting: Vec<(usize, Option<String>)>,
    exit: Option<Value>,
    /// Times of the messages, in seconds since 1970.
    clock: Vec<f64>,
    remarks: BTreeMap<&'static str, usize>,
}

impl Reading {
    fn remark(&mut self, what: &'static str) {
        *self.remarks.entry(what).or_default() += 1;
    }

    fn take(&mut self, message: &Value) {
        let before = self.clock.last().copied();
        let now = message.pointer("/extra/timestamp").and_then(Value::as_f64);
        self.clock.extend(now);
        let millis = before.zip(now).map_or(0, |(before, now)| ((now - before) * 1e3) as u64);
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        let kind = message.get("type").and_then(Value::as_str).unwrap_or_default();
        let interrupt = message.pointer("/extra/interrupt_type").and_then(Value::as_str);
        let is_response = message.get("object").and_then(Value::as_str) == Some("response");
        let has_output = message.pointer("/extra/raw_output").is_some();
        match (role, interrupt) {
            ("system", _) => {}
            (_, Some("FormatError")) => self.malformed(message, millis),
            ("exit", _) => self.exit = Some(message.clone()),
            ("assistant", _) => self.acted(message, millis),
            _ if is_response => self.acted(message, millis),
            _ if role == "tool" || kind == "function_call_output" || has_output => {
                self.observed(message, millis);
            }
            ("user", None) if self.asked.is_none() && self.turns.is_empty() => {
                self.asked = Some(text(message.get("content")));
            }
            ("user", _) => self.remark(PERSON),
            _ => self.remark(UNKNOWN),
        }
    }

    fn acted(&mut self, message: &Value, act_ms: u64) {
        self.unseen();
        let mut output = model_output(message);
        let actions = message.pointer("/extra/actions").and_then(Value::as_array);
        let actions = actions.map(Vec::as_slice).unwrap_or_default();
        if actions.is_empty() {
            let why = "its words asked for no command".to_string();
            let timings = Timings { act_ms, call_ms: 0 };
            let action = output.with_call(Call::Malformed(why.clone()));
            return self.turns.push(turn(action, why, Outcome::Refused, timings));
        }
        for (at, action) in actions.iter().enumerate() {
            if at > 0 {
                self.remark(FURTHER);
            }
            let call = command(action.get("command").and_then(Value::as_str).unwrap_or_default());
            let timings = Timings { act_ms: if at == 0 { act_ms } else { 0 }, call_ms: 0 };
            let done = std::mem::take(&mut output).with_call(call);
            self.waiting.push((self.turns.len(), string(action, "/tool_call_id")));
            self.turns.push(turn(done, String::new(), Outcome::Done, timings));
        }
    }

    fn observed(&mut self, message: &Value, call_ms: u64) {
        let id = string(message, "/tool_call_id").or_else(|| string(message, "/call_id"));
        let of_call = |(_, waiting): &(usize, Option<String>)| id.is_some() && *waiting == id;
        let at = self.waiting.iter().position(of_call).unwrap_or(0);
        if at >= self.waiting.len() {
            return self.remark(UNKNOWN);
        }
        let (at, _) = self.waiting.remove(at);
        let turn = &mut self.turns[at];
        turn.observation.text = text(message.get("content").or_else(|| message.get("output")));
        turn.timings.call_ms = call_ms;
        if string(message, "/extra/exception_type").as_deref() == Some("TimeoutExpired") {
            turn.observation.outcome = Outcome::TimedOut;
        }
    }

    /// An answer without a call: mini-swe-agent stores its own reply, with the model's text
    /// in `extra`.
    fn malformed(&mut self, message: &Value, act_ms: u64) {
        self.unseen();
        let why = text(message.get("content"));
        let response = message.pointer("/extra/response/choices/0/message");
        let mut output = model_output(response.unwrap_or(&Value::Null));
        if let Some(text) = string(message, "/extra/model_response") {
            output.text = text;
        }
        output.usage = usage(message);
        output.generation = generation(message);
        let action = output.with_call(Call::Malformed(why.clone()));
        self.turns.push(turn(action, why, Outcome::Refused, Timings { act_ms, call_ms: 0 }));
    }

    /// Counts calls without an observation before the next answer.
    fn unseen(&mut self) {
        for _ in 0..std::mem::take(&mut self.waiting).len() {
            self.remark(UNSEEN);
        }
    }

    /// The command that submits has the submission as its observation. If there were
    /// several calls at once, it is unknown which one it was.
    fn close(&mut self, submitted: bool) {
        if let ([(at, _)], Some(exit), true) = (self.waiting.as_slice(), &self.exit, submitted) {
            self.turns[*at].observation.text = text(exit.get("content"));
            self.turns[*at].observation.outcome = Outcome::Submitted;
            self.waiting.clear();
        }
        self.unseen();
    }

    fn time(&self) -> Option<(String, f64)> {
        let (first, last) = (self.clock.first()?, self.clock.last()?);
        let started = jiff::Timestamp::from_millisecond((first * 1e3) as i64).ok()?;
        Some((started.to_string(), last - first))
    }
}

/// The text and the reasoning of a message, or of a server's list of items.
fn model_output(message: &Value) -> ModelOutput {
    let items = message.get("output").and_then(Value::as_array);
    let of_kind = |kind: &'static str| {
        let items = items.into_iter().flatten();
        items.filter(move |item| item.get("type").and_then(Value::as_str) == Some(kind))
    };
    let (text, reasoning) = match items {
        None => (text(message.get("content")), thinking(message)),
        Some(_) => {
            let texts: Vec<_> = of_kind("message").map(|item| text(item.get("content"))).collect();
            let thoughts: Vec<_> =
                of_kind("reasoning").map(|item| text(item.get("summary"))).collect();
            (texts.join("\n"), Some(thoughts.join("\n")).filter(|text| !text.is_empty()))
        }
    };
    ModelOutput { text, reasoning, usage: usage(message), generation: generation(message) }
}

/// The cost of a message: tokens as the server counted them, dollars as the agent did.
fn usage(message: &Value) -> Usage {
    let counts = message.pointer("/extra/response/usage").or_else(|| message.get("usage"));
    let count = |pointers: [&str; 2]| {
        let found = pointers.iter().find_map(|pointer| counts?.pointer(pointer));
        found.and_then(Value::as_u64).unwrap_or_default()
    };
    Usage {
        prompt_tokens: count(["/prompt_tokens", "/input_tokens"]),
        completion_tokens: count(["/completion_tokens", "/output_tokens"]),
        cached_tokens: count([
            "/prompt_tokens_details/cached_tokens",
            "/input_tokens_details/cached_tokens",
        ]),
        reasoning_tokens: count([
            "/completion_tokens_details/reasoning_tokens",
            "/output_tokens_details/reasoning_tokens",
        ]),
        calls: 1,
        estimated: false,
        usd: message.pointer("/extra/cost").and_then(Value::as_f64),
    }
}

/// How the text was generated, if the server's answer is stored.
fn generation(message: &Value) -> Option<Generation> {
    let response = message.pointer("/extra/response")?;
    let reason = response.pointer("/choices/0/finish_reason")?.as_str()?;
    let finish = match reason {
        "stop" => Finish::Stop,
        "tool_calls" => Finish::ToolCall,
        "length" => Finish::Length,
        "content_filter" => Finish::Filtered,
        _ => return None,
    };
    Some(Generation {
        model: string(response, "/model")?,
        sampling: Sampling::default(),
        thinking: Thinking::default(),
        finish,
        finish_reason: Some(reason.into()),
        first_token_ms: None,
        tokens_per_second: None,
        tokens: Vec::new(),
        native_calls: Vec::new(),
        repaired: Vec::new(),
        resampled: 0,
        speculation: None,
    })
}
