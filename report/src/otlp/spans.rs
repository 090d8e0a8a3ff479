//! Spans of a run: names and attributes after OpenTelemetry's conventions for generative
//! AI, and `fixfly.` for what they do not name.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use fixfly_runtime::{Call, End, Episode, Finish, Generation, Turn, Verdict, now, sha256};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use serde_json::json;

/// What is known of a run before it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RunFacts {
    /// Its folder.
    pub(super) run: String,
    /// Its benchmark.
    pub(super) benchmark: String,
    /// Its policy.
    pub(super) policy: String,
    /// The model that is asked for.
    pub(super) model: Option<String>,
}

/// Makes the spans of a run.
#[derive(Clone, Debug)]
pub(super) struct RunSpans {
    facts: RunFacts,
    content: bool,
    start: SystemTime,
    trace: TraceId,
    root: SpanId,
    /// The number of sandboxes that were opened.
    sandboxes: Arc<AtomicU64>,
}

/// A part of an episode or a run, from start to end.
#[derive(Clone, Copy)]
struct Period {
    start: SystemTime,
    end: SystemTime,
}

impl Period {
    /// The next part of a given length, inside this one.
    fn next(self, from: SystemTime, milliseconds: u64) -> Period {
        let end = from + Duration::from_millis(milliseconds);
        Period { start: from.min(self.end), end: end.min(self.end) }
    }
}

impl RunSpans {
    pub(super) fn new(facts: RunFacts, content: bool, start: SystemTime) -> Self {
        let key = sha256(format!("{}\0{}", facts.run, now()));
        let trace = TraceId::from(u128::from_str_radix(&key[..32], 16).unwrap_or(1));
        let root = id(&key[32..]);
        RunSpans { facts, content, start, trace, root, sandboxes: Arc::default() }
    }

    /// The span of the run itself, which is sent last.
    pub(super) fn run(&self, end: SystemTime) -> SpanData {
        let attributes = vec![
            KeyValue::new("fixfly.run", self.facts.run.clone()),
            KeyValue::new("fixfly.benchmark", self.facts.benchmark.clone()),
            KeyValue::new("fixfly.policy", self.facts.policy.clone()),
        ];
        let period = Period { start: self.start, end: end.max(self.start) };
        let name = format!("run {}", self.facts.benchmark);
        self.span((self.root, SpanId::INVALID), name, period, attributes)
    }

    /// The span of a sandbox that was opened.
    pub(super) fn sandbox(&self, start: SystemTime, end: SystemTime, opened: bool) -> SpanData {
        let count = self.sandboxes.fetch_add(1, Ordering::Relaxed);
        let own = id(&sha256(format!("{}\0sandbox\0{count}", self.root)));
        let period = Period { start: start.max(self.start), end: end.max(start) };
        let mut span = self.span((own, self.root), "open sandbox", period, Vec::new());
        if !opened {
            span.status = Status::error("the sandbox did not open");
        }
        span
    }

    /// The spans of an episode: its own, then those of its turns and of its verdict.
    pub(super) fn episode(&self, episode: &Episode) -> Vec<SpanData> {
        let provenance = &episode.provenance;
        let started = provenance.started.parse::<jiff::Timestamp>().map(SystemTime::from);
        // The record has milliseconds, so its start could be rounded to before the run's.
        let start = started.unwrap_or(self.start).max(self.start);
        let seconds = Duration::try_from_secs_f64(provenance.seconds).unwrap_or_default();
        let period = Period { start, end: start + seconds };
        let key = format!(
            "{}\0{}\0{}\0{}",
            self.root, episode.task.id, provenance.sample, provenance.started
        );
        let own = id(&sha256(&key));
        let mut spans = vec![self.whole(episode, own, period)];
        let mut from = start;
        for (turn, number) in episode.turns.iter().zip(1..) {
            let length = turn.timings.act_ms + turn.timings.call_ms;
            let of_turn = period.next(from, length);
            from = of_turn.end;
            spans.extend(self.turn(turn, number, (&key, own), of_turn));
        }
        // A pass is judged in its turn's tool call; anything else after the last turn.
        if let Some(verdict) = &episode.verdict {
            let rest = Period { start: from, end: period.end };
            let ids = (id(&sha256(format!("{key}\0verdict"))), own);
            spans.push(self.span(ids, "verdict", rest, judged(verdict)));
        }
        spans
    }

    fn whole(&self, episode: &Episode, own: SpanId, period: Period) -> SpanData {
        let provenance = &episode.provenance;
        let mut attributes = vec![
            KeyValue::new("gen_ai.operation.name", "invoke_agent"),
            KeyValue::new("gen_ai.agent.name", episode.policy.clone()),
            KeyValue::new("fixfly.benchmark", episode.task.benchmark.clone()),
            KeyValue::new("fixfly.task", episode.task.id.clone()),
            KeyValue::new("fixfly.sample", i64::from(provenance.sample)),
            // A seed has more bits than an attribute's number.
            KeyValue::new("fixfly.seed", provenance.seed.to_string()),
            KeyValue::new("fixfly.isolation", provenance.isolation.clone()),
            KeyValue::new("fixfly.turns", episode.turns.len() as i64),
            KeyValue::new("fixfly.end", episode.end.name()),
        ];
        // Without a verdict nobody knows.
        if !episode.unjudged() {
            attributes.push(KeyValue::new("fixfly.solved", episode.solved()));
        }
        let name = format!("invoke_agent {}", episode.policy);
        let mut span = self.span((own, self.root), name, period, attributes);
        if let End::Failed { why, .. } = &episode.end {
            // The reason may quote what a model or a test wrote.
            let why = if self.content { why.clone() } else { episode.end.name().to_string() };
            span.status = Status::error(why);
        }
        span
    }

    /// The spans of a turn: its own, the model call, the tool call.
    fn turn(
        &self,
        turn: &Turn,
        number: usize,
        (key, episode): (&str, SpanId),
        period: Period,
    ) -> Vec<SpanData> {
        let of = |part: &str| id(&sha256(format!("{key}\0{number}\0{part}")));
        let own = of("turn");
        let attributes = vec![
            KeyValue::new("fixfly.turn", number as i64),
            KeyValue::new("fixfly.outcome", turn.observation.outcome.name()),
        ];
        let mut spans =
            vec![self.span((own, episode), format!("turn {number}"), period, attributes)];
        let acting = period.next(period.start, turn.timings.act_ms);
        if turn.action.generation.is_some() || turn.action.usage.calls > 0 {
            let model = self.model(turn);
            let name = model.as_ref().map_or("chat".into(), |model| format!("chat {model}"));
            let attributes = self.chat(turn, model);
            let mut span = self.span((of("chat"), own), name, acting, attributes);
            span.span_kind = SpanKind::Client;
            spans.push(span);
        }
        if let Call::Tool { name, .. } = &turn.action.call {
            let calling = period.next(acting.end, turn.timings.call_ms);
            let attributes = self.tool(turn, name);
            spans.push(self.span(
                (of("tool"), own),
                format!("execute_tool {name}"),
                calling,
                attributes,
            ));
        }
        spans
    }

    fn model(&self, turn: &Turn) -> Option<String> {
        let own = turn.action.generation.as_ref().map(|generation| generation.model.clone());
        self.facts.model.clone().or(own)
    }

    fn chat(&self, turn: &Turn, model: Option<String>) -> Vec<KeyValue> {
        let mut attributes = vec![KeyValue::new("gen_ai.operation.name", "chat")];
        attributes.extend(model.map(|model| KeyValue::new("gen_ai.request.model", model)));
        let usage = &turn.action.usage;
        if usage.prompt_tokens + usage.completion_tokens > 0 {
            let counts = [
                ("gen_ai.usage.input_tokens", usage.prompt_tokens),
                ("gen_ai.usage.output_tokens", usage.completion_tokens),
                ("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens),
            ];
            attributes.extend(counts.map(|(name, count)| KeyValue::new(name, whole(count))));
            attributes.push(KeyValue::new("fixfly.usage.estimated", usage.estimated));
        }
        attributes.push(KeyValue::new("fixfly.requests", i64::from(usage.calls)));
        attributes.extend(usage.usd.map(|usd| KeyValue::new("fixfly.usd", usd)));
        if let Some(generation) = &turn.action.generation {
            attributes.extend(generated(generation));
        }
        if self.content {
            attributes.push(KeyValue::new("gen_ai.output.messages", output(turn)));
        }
        attributes
    }

    fn tool(&self, turn: &Turn, name: &str) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new("gen_ai.operation.name", "execute_tool"),
            KeyValue::new("gen_ai.tool.name", name.to_string()),
            KeyValue::new("gen_ai.tool.type", "function"),
            KeyValue::new("fixfly.outcome", turn.observation.outcome.name()),
        ];
        if let (Call::Tool { args, .. }, true) = (&turn.action.call, self.content) {
            attributes.push(KeyValue::new("gen_ai.tool.call.arguments", args.to_string()));
            let seen = turn.observation.text.clone();
            attributes.push(KeyValue::new("gen_ai.tool.call.result", seen));
        }
        attributes
    }

    fn span(
        &self,
        (own, parent): (SpanId, SpanId),
        name: impl Into<Cow<'static, str>>,
        period: Period,
        attributes: Vec<KeyValue>,
    ) -> SpanData {
        let (flags, state) = (TraceFlags::SAMPLED, TraceState::default());
        SpanData {
            span_context: SpanContext::new(self.trace, own, flags, false, state),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: period.start,
            end_time: period.end,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("fixfly")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }
}

fn judged(verdict: &Verdict) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("fixfly.solved", verdict.solved),
        KeyValue::new("fixfly.exact_match", verdict.exact_match),
        KeyValue::new("fixfly.tampering", verdict.tampering.is_some()),
    ];
    let hidden = verdict.hidden_tests_pass;
    attributes.extend(hidden.map(|pass| KeyValue::new("fixfly.hidden_tests_pass", pass)));
    attributes
}

fn generated(generation: &Generation) -> Vec<KeyValue> {
    let sampling = &generation.sampling;
    let reals = [
        ("gen_ai.request.temperature", sampling.temperature),
        ("gen_ai.request.top_p", sampling.top_p),
        ("gen_ai.request.top_k", sampling.top_k.map(f64::from)),
        ("fixfly.tokens_per_second", generation.tokens_per_second),
    ];
    let wholes = [
        ("gen_ai.request.max_tokens", sampling.max_tokens.map(i64::from)),
        ("gen_ai.request.seed", sampling.seed.map(whole)),
        ("fixfly.first_token_ms", generation.first_token_ms.map(whole)),
    ];
    let reals = reals.into_iter().filter_map(|(name, real)| Some(KeyValue::new(name, real?)));
    let wholes = wholes.into_iter().filter_map(|(name, count)| Some(KeyValue::new(name, count?)));
    let reason: StringValue = finish(generation).into();
    let reasons = Value::Array(Array::String(vec![reason]));
    let named = [
        KeyValue::new("gen_ai.response.model", generation.model.clone()),
        KeyValue::new("gen_ai.response.finish_reasons", reasons),
    ];
    reals.chain(wholes).chain(named).collect()
}

/// The server's own word, or else the one of the conventions.
fn finish(generation: &Generation) -> String {
    let usual = match generation.finish {
        Finish::Stop => "stop",
        Finish::ToolCall => "tool_call",
        Finish::Length => "length",
        Finish::Filtered | Finish::Refused => "content_filter",
    };
    generation.finish_reason.clone().unwrap_or_else(|| usual.to_string())
}

/// What the model wrote, in the conventions' JSON.
fn output(turn: &Turn) -> String {
    let reasoning = turn.action.reasoning.iter();
    let mut parts: Vec<_> =
        reasoning.map(|text| json!({ "type": "reasoning", "content": text })).collect();
    parts.push(json!({ "type": "text", "content": turn.action.text }));
    let reason = turn.action.generation.as_ref().map(finish);
    json!([{ "role": "assistant", "parts": parts, "finish_reason": reason }]).to_string()
}

/// A count that does not fit is as large as an attribute can be.
fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A span's id from the start of a hash. 0 is no id.
fn id(hash: &str) -> SpanId {
    SpanId::from(u64::from_str_radix(&hash[..16], 16).unwrap_or_default().max(1))
}
