use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use fixfly_runtime::{
    Action, Boundary, Budget, Call, End, Episode, FailureKind, Feedback, Finish, Generation, Host,
    Issue, Observation, Observer, Outcome, Provenance, Sampling, Sandbox, SandboxError,
    SandboxSpec, Silent, Statement, Task, TestDelta, Thinking, Timings, Turn, Usage, Verdict,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;

use super::observer::Traced;
use super::spans::RunFacts;
use super::*;

const SECRET: &str = "SECRET-CONTENT";

type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// A collector: accepts what is OTLP in protobuf.
async fn collector() -> (String, Received) {
    async fn take(State(all): State<Received>, headers: HeaderMap, body: Bytes) -> StatusCode {
        if headers["content-type"] != "application/x-protobuf" {
            return StatusCode::UNSUPPORTED_MEDIA_TYPE;
        }
        match ExportTraceServiceRequest::decode(body) {
            Ok(request) => all.lock().unwrap().push(request),
            Err(_) => return StatusCode::BAD_REQUEST,
        }
        StatusCode::OK
    }
    let received = Received::default();
    let app = Router::new().route("/v1/traces", post(take)).with_state(received.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, received)
}

fn turn(call: Call, outcome: Outcome, generation: Option<Generation>) -> Turn {
    let usage = match generation {
        Some(_) => Usage {
            prompt_tokens: 100,
            completion_tokens: 7,
            cached_tokens: 60,
            calls: 1,
            usd: Some(0.25),
            ..Usage::default()
        },
        None => Usage::default(),
    };
    let left = Budget { turns: 0, tokens: None, seconds: None, usd: None };
    Turn {
        action: Action {
            text: SECRET.into(),
            reasoning: Some(SECRET.into()),
            call,
            usage,
            generation,
        },
        observation: Observation::new(outcome, SECRET),
        feedback: Feedback { delta: TestDelta::default(), left, message: SECRET.into() },
        timings: Timings { act_ms: 300, call_ms: 150 },
    }
}

fn episode(sample: u32, end: End) -> Episode {
    let generation = Generation {
        model: "gpt-x-2026".into(),
        sampling: Sampling {
            temperature: Some(0.5),
            top_k: Some(20),
            seed: Some(u64::MAX),
            ..Sampling::default()
        },
        thinking: Thinking::default(),
        finish: Finish::ToolCall,
        finish_reason: Some("tool_calls".into()),
        first_token_ms: Some(40),
        tokens_per_second: Some(50.0),
        tokens: Vec::new(),
        native_calls: Vec::new(),
        repaired: Vec::new(),
        resampled: 0,
        speculation: None,
    };
    let tool = Call::Tool { name: "bash".into(), args: json!({ "command": SECRET }) };
    let issue = Issue {
        repo: "acme/slug".into(),
        version: "1".into(),
        text: SECRET.into(),
        root: "/repo".into(),
        manual: String::new(),
        history: fixfly_runtime::History::All,
    };
    let statement = Statement::Issue(issue);
    Episode {
        schema: statement.schema(),
        task: Task {
            id: "acme__slug-1".into(),
            benchmark: "swebench".into(),
            statement,
            sandbox: SandboxSpec::default(),
            tools: vec!["bash".into()],
            budget: Budget { turns: 9, tokens: None, seconds: None, usd: None },
        },
        policy: "openai".into(),
        provenance: Provenance {
            sample,
            seed: u64::MAX,
            started: fixfly_runtime::now(),
            seconds: 1.5,
            ..Provenance::default()
        },
        turns: vec![
            turn(tool, Outcome::Done, Some(generation)),
            turn(Call::Malformed(SECRET.into()), Outcome::Refused, None),
        ],
        end,
        patch: Some(SECRET.into()),
        left_out: Vec::new(),
        verdict: Some(Verdict { solved: true, ..Verdict::default() }),
    }
}

/// Opens nothing.
struct Closed;

#[async_trait::async_trait]
impl Host for Closed {
    async fn open(&self, _: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        Err(SandboxError::Open("closed".into()))
    }

    fn isolation(&self) -> String {
        "none".into()
    }
}

fn facts() -> RunFacts {
    RunFacts {
        run: "runs/a".into(),
        benchmark: "swebench".into(),
        policy: "openai".into(),
        model: Some("gpt-x".into()),
    }
}

/// Runs two episodes and returns the spans that a collector got.
async fn spans(content: bool) -> (Vec<Span>, String) {
    let (url, received) = collector().await;
    let otlp = Otlp { url, content };
    let (mut observer, sending) = Traced::start(Silent, &otlp, facts()).unwrap();
    let host = observer.host(Arc::new(Closed));
    assert!(host.open(&SandboxSpec::default()).await.is_err());
    observer.started(2, &[]);
    observer.recorded(&episode(0, End::Submitted));
    let why = format!("the server said {SECRET}");
    let failed = End::Failed { at: Boundary::Policy, kind: FailureKind::Model, why };
    observer.recorded(&episode(1, failed));
    // An episode ends before its run does.
    tokio::time::sleep(std::time::Duration::from_millis(1600)).await;
    observer.ended();
    sending.finish().await;
    let received = received.lock().unwrap();
    let scopes = received.iter().flat_map(|request| &request.resource_spans);
    let resource = format!("{:?}", scopes.clone().next().unwrap().resource);
    assert!(resource.contains("service.name") && resource.contains("fixfly"), "{resource}");
    let spans = scopes.flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans);
    (spans.cloned().collect(), format!("{received:?}"))
}

fn attributes(span: &Span) -> BTreeMap<&str, &Value> {
    let pairs = span.attributes.iter();
    pairs.map(|pair| (&*pair.key, pair.value.as_ref().unwrap().value.as_ref().unwrap())).collect()
}

fn text(value: &Value) -> &str {
    match value {
        Value::StringValue(text) => text,
        other => panic!("{other:?} is no text"),
    }
}

#[tokio::test]
async fn a_collector_gets_nested_spans_of_facts() {
    let (spans, all) = spans(false).await;
    assert!(!all.contains(SECRET), "{all}");
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (&*span.span_id, span)).collect();
    assert_eq!(by_id.len(), spans.len(), "ids are distinct");
    let mut names: BTreeMap<(String, String), usize> = BTreeMap::new();
    for span in &spans {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        assert_eq!(span.trace_id, spans[0].trace_id);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        let parent = match span.parent_span_id.as_slice() {
            [] => None,
            id => Some(by_id[id]),
        };
        if let Some(parent) = parent {
            assert!(
                parent.start_time_unix_nano <= span.start_time_unix_nano,
                "{span:?} {parent:?}"
            );
            assert!(span.end_time_unix_nano <= parent.end_time_unix_nano, "{span:?} {parent:?}");
        }
        let parent = parent.map(|parent| parent.name.clone()).unwrap_or_default();
        *names.entry((span.name.clone(), parent)).or_default() += 1;
    }
    let names: Vec<_> =
        names.iter().map(|((n, p), count)| (n.as_str(), p.as_str(), *count)).collect();
    assert_eq!(
        names,
        [
            ("chat gpt-x", "turn 1", 2),
            ("execute_tool bash", "turn 1", 2),
            ("invoke_agent openai", "run swebench", 2),
            ("open sandbox", "run swebench", 1),
            ("run swebench", "", 1),
            ("turn 1", "invoke_agent openai", 2),
            ("turn 2", "invoke_agent openai", 2),
            ("verdict", "invoke_agent openai", 2),
        ]
    );
}

#[tokio::test]
async fn attributes_have_the_types_of_the_conventions() {
    let (spans, _) = spans(false).await;
    let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let chat = attributes(of("chat gpt-x"));
    assert_eq!(text(chat["gen_ai.operation.name"]), "chat");
    assert_eq!(text(chat["gen_ai.request.model"]), "gpt-x");
    assert_eq!(text(chat["gen_ai.response.model"]), "gpt-x-2026");
    assert_eq!(chat["gen_ai.usage.input_tokens"], &Value::IntValue(100));
    assert_eq!(chat["gen_ai.usage.output_tokens"], &Value::IntValue(7));
    assert_eq!(chat["gen_ai.usage.cache_read.input_tokens"], &Value::IntValue(60));
    assert_eq!(chat["gen_ai.request.temperature"], &Value::DoubleValue(0.5));
    assert_eq!(chat["gen_ai.request.top_k"], &Value::DoubleValue(20.0));
    assert_eq!(chat["gen_ai.request.seed"], &Value::IntValue(i64::MAX));
    assert_eq!(chat["fixfly.usd"], &Value::DoubleValue(0.25));
    let Value::ArrayValue(reasons) = chat["gen_ai.response.finish_reasons"] else {
        panic!("{chat:?}")
    };
    let reasons: Vec<_> =
        reasons.values.iter().map(|value| text(value.value.as_ref().unwrap())).collect();
    assert_eq!(reasons, ["tool_calls"]);
    // 3: a client; 1: inside the program.
    assert_eq!((of("chat gpt-x").kind, of("turn 1").kind), (3, 1));
    let length = |span: &Span| (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000;
    let lengths = ["chat gpt-x", "execute_tool bash", "turn 1", "invoke_agent openai"];
    assert_eq!(lengths.map(|name| length(of(name))), [300, 150, 450, 1500]);
    let tool = attributes(of("execute_tool bash"));
    assert_eq!(text(tool["gen_ai.operation.name"]), "execute_tool");
    assert_eq!(text(tool["gen_ai.tool.name"]), "bash");
    let agent = attributes(of("invoke_agent openai"));
    assert_eq!(text(agent["gen_ai.agent.name"]), "openai");
    assert_eq!(agent["fixfly.solved"], &Value::BoolValue(true));
    assert_eq!(text(agent["fixfly.seed"]), u64::MAX.to_string());
    assert_eq!(attributes(of("verdict"))["fixfly.solved"], &Value::BoolValue(true));
    let failed: Vec<_> = spans
        .iter()
        .filter_map(|span| span.status.as_ref())
        .map(|status| &*status.message)
        .filter(|message| !message.is_empty())
        .collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed.contains(&"model failed") && failed.contains(&"the sandbox did not open"));
}

#[tokio::test]
async fn content_is_sent_if_it_is_asked_for() {
    let (spans, _) = spans(true).await;
    let chat = spans.iter().find(|span| span.name == "chat gpt-x").unwrap();
    let sent = text(attributes(chat)["gen_ai.output.messages"]);
    let sent: serde_json::Value = serde_json::from_str(sent).unwrap();
    assert_eq!(sent[0]["parts"][1], json!({ "type": "text", "content": SECRET }));
    let tool = spans.iter().find(|span| span.name == "execute_tool bash").unwrap();
    assert_eq!(text(attributes(tool)["gen_ai.tool.call.result"]), SECRET);
}

#[tokio::test]
async fn a_collector_that_is_not_there_fails_no_run() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let start = SystemTime::now();
    let (mut observer, sending) =
        Traced::start(Silent, &Otlp { url, content: false }, facts()).unwrap();
    observer.recorded(&episode(0, End::Submitted));
    observer.ended();
    sending.finish().await;
    assert!(start.elapsed().unwrap() < 2 * PATIENCE);
    assert!(start > UNIX_EPOCH);
}

#[tokio::test]
async fn a_wrong_address_is_refused_before_the_run() {
    let check = |url: &str, expected: &str| {
        let otlp = Otlp { url: url.into(), content: false };
        let error = Traced::start(Silent, &otlp, facts()).err().unwrap().to_string();
        assert_eq!(error, expected);
    };
    let remedy = "write the collector's address, such as http://localhost:4318";
    check(
        "localhost:4318",
        &format!("--otlp localhost:4318: it is neither http nor https; {remedy}"),
    );
    check("", &format!("--otlp : relative URL without a base; {remedy}"));
    check(
        "http://me:key@localhost",
        "--otlp: the address has a user name or a password; pass them in the environment variable \
         OTEL_EXPORTER_OTLP_HEADERS instead",
    );
}

#[test]
fn the_address_of_traces_is_added_once() {
    for (url, expected) in [
        ("http://a:4318", "http://a:4318/v1/traces"),
        ("http://a:4318/", "http://a:4318/v1/traces"),
        ("https://a/otlp", "https://a/otlp/v1/traces"),
        ("http://a/v1/traces", "http://a/v1/traces"),
    ] {
        assert_eq!(traces(&Url::parse(url).unwrap()), expected);
    }
}
