//! Reads ATIF of any agent, in all versions that have been published.

use std::collections::BTreeMap;

use fixfly_runtime::{
    Budget, Call, End, Episode, Generation, LeftOut, Outcome, Statement, Timings, Token, Usage,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::mini::{FURTHER, PERSON, UNSEEN};
use super::super::{Form, ModelOutput, Parsed, end, string, turn};
use super::VERSION;

const COPIED: &str = "steps copied from an earlier trajectory, left out";
const CONTINUED: &str = "trajectories that another file continues, imported alone";
const MEDIA: &str = "images and sounds, left out";
const NOTES: &str = "notes of the system, left out";
const SUBAGENTS: &str = "trajectories of subagents, left out";
const UNDEFINED: &str = "fields that ATIF does not define, left out";

/// The fields of a file and of a step, in the newest version. Each version added some and
/// removed none.
const ROOT: [&str; 10] = [
    "agent",
    "continued_trajectory_ref",
    "extra",
    "final_metrics",
    "notes",
    "schema_version",
    "session_id",
    "steps",
    "subagent_trajectories",
    "trajectory_id",
];
const STEP: [&str; 13] = [
    "extra",
    "is_copied_context",
    "llm_call_count",
    "message",
    "metrics",
    "model_name",
    "observation",
    "reasoning_content",
    "reasoning_effort",
    "source",
    "step_id",
    "timestamp",
    "tool_calls",
];

/// Reads a trajectory. An error is a sentence without the file's name.
pub(in super::super) fn read(value: &Value) -> Result<Parsed, String> {
    check_version(value)?;
    let steps = value.get("steps").and_then(Value::as_array).filter(|steps| !steps.is_empty());
    let steps = steps.ok_or("its `steps` is not a list of at least one step")?;
    let agent = string(value, "/agent/name").ok_or("its `agent.name` is not text")?;
    let own = match value.pointer("/extra/fixfly") {
        Some(own) => Some(Own::deserialize(own).map_err(|why| format!("`extra.fixfly`: {why}"))?),
        None => None,
    };
    let mut reading = Reading::default();
    for (step, number) in steps.iter().zip(1..) {
        reading.take(step, number).map_err(|why| format!("step {number}: {why}"))?;
    }
    let subagents = value.get("subagent_trajectories").and_then(Value::as_array);
    reading.remark(SUBAGENTS, subagents.map_or(0, Vec::len));
    let continued = value.get("continued_trajectory_ref").is_some_and(Value::is_string);
    reading.remark(CONTINUED, usize::from(continued));
    reading.remark(UNDEFINED, undefined(value.as_object(), &ROOT));
    let ended = value.pointer("/extra/end").and_then(|ended| End::deserialize(ended).ok());
    let totals = value.get("final_metrics").and_then(Value::as_object);
    Ok(Parsed {
        form: Form::Atif,
        agent,
        version: string(value, "/agent/version"),
        model: string(value, "/agent/model_name").or(reading.model.take()),
        root: None,
        end: ended.unwrap_or_else(end::unknown_end),
        exit_status: None,
        submission: string(value, "/extra/patch"),
        totals: totals.cloned().unwrap_or_default(),
        limits: (None, None),
        time: reading.time(),
        asked: reading.asked,
        turns: reading.turns,
        own,
        remarks: reading.remarks,
    })
}

/// Whether a `schema_version` is one of ATIF's.
pub(in super::super) fn is_version(version: &str) -> bool {
    version.starts_with("ATIF-")
}

/// Minor versions only add fields. The text before the dot is the same for all of them.
fn check_version(value: &Value) -> Result<(), String> {
    let version = string(value, "/schema_version").unwrap_or_default();
    let minor = |version: &str| version.strip_prefix("ATIF-v1.")?.parse::<u32>().ok();
    match minor(&version).zip(minor(VERSION)) {
        Some((minor, newest)) if minor <= newest => Ok(()),
        _ => Err(format!(
            "its `schema_version` is {version}; fixfly reads ATIF-v1.0 to {VERSION}: convert it, \
             or use a newer fixfly"
        )),
    }
}

fn undefined(fields: Option<&Map<String, Value>>, defined: &[&str]) -> usize {
    let names = fields.into_iter().flat_map(Map::keys);
    names.filter(|name| !defined.contains(&name.as_str())).count()
}

/// What an export of fixfly says about an episode in `extra.fixfly`.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Own {
    statement: Statement,
    tools: Vec<String>,
    budget: Budget,
    left_out: Vec<LeftOut>,
    seed: u64,
    isolation: String,
    started: String,
    seconds: f64,
}

impl Own {
    /// Restores an episode that fixfly exported. If there is a row for its instance in a
    /// table, the issue is that of the table.
    pub(in super::super) fn restore(self, episode: &mut Episode, in_table: bool) {
        let mut statement = self.statement;
        if let (Statement::Issue(own), Statement::Issue(read)) =
            (&mut statement, &episode.task.statement)
            && in_table
        {
            own.repo.clone_from(&read.repo);
            own.version.clone_from(&read.version);
            own.text.clone_from(&read.text);
        }
        // Only issues have trajectories.
        if statement.issue().is_some() {
            episode.schema = statement.schema();
            episode.task.statement = statement;
        }
        episode.task.tools = self.tools;
        episode.task.budget = self.budget;
        episode.left_out = self.left_out;
        let provenance = &mut episode.provenance;
        provenance.seed = self.seed;
        provenance.isolation = self.isolation;
        provenance.started = self.started;
        provenance.seconds = self.seconds;
    }
}

/// What an export of fixfly says about a step in `extra.fixfly`.
#[derive(Debug, Deserialize)]
struct OwnTurn {
    outcome: Outcome,
    timings: Timings,
    usage: Usage,
    generation: Option<Generation>,
    malformed: Option<String>,
    arguments: Option<Value>,
}

#[derive(Default)]
struct Reading {
    asked: Option<String>,
    model: Option<String>,
    turns: Vec<fixfly_runtime::Turn>,
    clock: Vec<jiff::Timestamp>,
    remarks: BTreeMap<&'static str, usize>,
}

impl Reading {
    fn remark(&mut self, what: &'static str, times: usize) {
        if times > 0 {
            *self.remarks.entry(what).or_default() += times;
        }
    }

    fn take(&mut self, step: &Value, number: u64) -> Result<(), String> {
        if !step.is_object() {
            return Err("it is not an object".into());
        }
        if step.get("step_id").and_then(Value::as_u64) != Some(number) {
            return Err(format!("its `step_id` is not {number}"));
        }
        self.remark(UNDEFINED, undefined(step.as_object(), &STEP));
        self.clock.extend(timestamp(step)?);
        let words = self.words(step.get("message")).ok_or("its `message` is not text")?;
        let is_first = self.turns.is_empty();
        let is_copied = step.get("is_copied_context").and_then(Value::as_bool);
        match step.get("source").and_then(Value::as_str).unwrap_or_default() {
            "system" if is_first => {}
            "system" => self.remark(NOTES, 1),
            "user" if is_first && self.asked.is_none() => self.asked = Some(words),
            "user" => self.remark(PERSON, 1),
            "agent" if is_copied == Some(true) => self.remark(COPIED, 1),
            "agent" => self.acted(step, words)?,
            _ => return Err("its `source` is not system, user or agent".into()),
        }
        Ok(())
    }

    /// Text, or the text in a list of parts; `None` if it is neither.
    fn words(&mut self, content: Option<&Value>) -> Option<String> {
        let parts = match content? {
            Value::String(text) => return Some(text.clone()),
            Value::Array(parts) => parts,
            _ => return None,
        };
        let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
        let texts: Vec<_> = texts.collect();
        self.remark(MEDIA, parts.len() - texts.len());
        Some(texts.join("\n"))
    }

    /// A step of the agent: a turn for each call. The first has the words and the cost.
    fn acted(&mut self, step: &Value, text: String) -> Result<(), String> {
        let own = match step.pointer("/extra/fixfly") {
            Some(own) => {
                let read = OwnTurn::deserialize(own);
                Some(read.map_err(|why| format!("its `extra.fixfly`: {why}"))?)
            }
            None => None,
        };
        self.model = self.model.take().or_else(|| string(step, "/model_name"));
        let calls = calls(step, own.as_ref().and_then(|own| own.arguments.as_ref()))?;
        let mut results = self.results(step, &calls)?;
        let reasoning = string(step, "/reasoning_content");
        let (outcome, timings, usage, generation, malformed) = match own {
            Some(own) => {
                let generation = own.generation.map(|generation| with_tokens(generation, step));
                (Some(own.outcome), own.timings, own.usage, generation, own.malformed)
            }
            None => (None, Timings::default(), usage(step)?, None, None),
        };
        let mut output = ModelOutput { text, reasoning, usage, generation };
        if calls.is_empty() {
            let observed = results.remove(&None).unwrap_or_default();
            let why = malformed.unwrap_or_else(|| "it called no tool".to_string());
            let action = output.with_call(Call::Malformed(why));
            let outcome = outcome.unwrap_or(Outcome::Refused);
            self.turns.push(turn(action, observed, outcome, timings));
            return Ok(());
        }
        self.remark(FURTHER, calls.len() - 1);
        let last = calls.len() - 1;
        for (at, (id, call)) in calls.into_iter().enumerate() {
            // A result without a call belongs to the last one.
            let rest = if at == last { results.remove(&None) } else { None };
            let seen = [results.remove(&Some(id)), rest];
            let seen: Vec<String> = seen.into_iter().flatten().collect();
            self.remark(UNSEEN, usize::from(seen.is_empty()));
            let outcome = outcome.unwrap_or(Outcome::Done);
            let action = std::mem::take(&mut output).with_call(call);
            self.turns.push(turn(action, seen.join("\n"), outcome, timings.clone()));
        }
        Ok(())
    }

    /// The results of a step by the call that they belong to.
    fn results(
        &mut self,
        step: &Value,
        calls: &[(String, Call)],
    ) -> Result<BTreeMap<Option<String>, String>, String> {
        let mut found: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
        let Some(observation) = step.get("observation").filter(|it| !it.is_null()) else {
            return Ok(BTreeMap::new());
        };
        let results = observation.get("results").and_then(Value::as_array);
        for result in results.ok_or("its `observation.results` is not a list")? {
            let of = string(result, "/source_call_id");
            if let Some(of) = &of
                && !calls.iter().any(|(id, _)| id == of)
            {
                return Err("its `observation.results.source_call_id` names no call of it".into());
            }
            let content = result.get("content").filter(|content| !content.is_null());
            let text = match content {
                Some(_) => self.words(content),
                None => Some(String::new()),
            };
            let text = text.ok_or("its `observation.results.content` is not text")?;
            found.entry(of).or_default().push(text);
        }
        Ok(found.into_iter().map(|(of, texts)| (of, texts.join("\n"))).collect())
    }

    fn time(&self) -> Option<(String, f64)> {
        let (first, last) = (self.clock.first()?, self.clock.last()?);
        Some((first.to_string(), last.duration_since(*first).as_secs_f64()))
    }
}

/// The calls of a step with their ids. `other` has arguments that the format cannot express.
fn calls(step: &Value, other: Option<&Value>) -> Result<Vec<(String, Call)>, String> {
    let Some(calls) = step.get("tool_calls").filter(|calls| !calls.is_null()) else {
        return Ok(Vec::new());
    };
    let calls = calls.as_array().ok_or("its `tool_calls` is not a list")?;
    let call = |call: &Value| -> Result<(String, Call), String> {
        let id = string(call, "/tool_call_id").ok_or("its `tool_calls.tool_call_id` is not text");
        let name = string(call, "/function_name");
        let name = name.ok_or("its `tool_calls.function_name` is not text")?;
        let args = call.get("arguments").filter(|args| args.is_object());
        let args = args.ok_or("its `tool_calls.arguments` is not an object")?;
        Ok((id?, Call::Tool { name, args: other.unwrap_or(args).clone() }))
    };
    calls.iter().map(call).collect()
}

/// The time of a step. A time without an offset could be anywhere, so it stays unknown.
fn timestamp(step: &Value) -> Result<Option<jiff::Timestamp>, String> {
    let wrong = || "its `timestamp` is not an ISO 8601 time".to_string();
    match step.get("timestamp") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(Some(time)),
            Err(_) => text.parse::<jiff::civil::DateTime>().map(|_| None).map_err(|_| wrong()),
        },
        Some(_) => Err(wrong()),
    }
}

/// The cost of a step of another agent.
fn usage(step: &Value) -> Result<Usage, String> {
    let count = |pointer: &str| match step.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(count) => match count.as_u64() {
            Some(count) => Ok(Some(count)),
            None => Err(format!("its `{}` is not a count", pointer[1..].replace('/', "."))),
        },
    };
    let usd = match step.pointer("/metrics/cost_usd").filter(|usd| !usd.is_null()) {
        Some(usd) => Some(usd.as_f64().ok_or("its `metrics.cost_usd` is not a number")?),
        None => None,
    };
    let calls = count("/llm_call_count")?.map(u32::try_from);
    Ok(Usage {
        prompt_tokens: count("/metrics/prompt_tokens")?.unwrap_or_default(),
        completion_tokens: count("/metrics/completion_tokens")?.unwrap_or_default(),
        cached_tokens: count("/metrics/cached_tokens")?.unwrap_or_default(),
        calls: calls.unwrap_or(Ok(1)).map_err(|_| "its `llm_call_count` is too large")?,
        usd,
        ..Usage::default()
    })
}

/// A generation with the tokens that fields of the format hold.
fn with_tokens(generation: Generation, step: &Value) -> Generation {
    let list = |pointer: &str| {
        let list = step.pointer(pointer).and_then(Value::as_array);
        list.map(Vec::as_slice).unwrap_or_default().iter()
    };
    let ids = list("/metrics/completion_token_ids").filter_map(|id| id.as_u64()?.try_into().ok());
    let logprobs = list("/metrics/logprobs").filter_map(Value::as_f64);
    let tokens = ids.zip(logprobs).map(|(id, logprob)| Token { id, logprob: logprob as f32 });
    Generation { tokens: tokens.collect(), ..generation }
}
