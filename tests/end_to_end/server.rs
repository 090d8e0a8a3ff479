//! An OpenAI-compatible server that holds every request against the published
//! schema and answers from a script, in all the ways real ones do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_openai::types::chat::CreateChatCompletionRequest;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

/// Fields that servers other than OpenAI's take.
const EXTENSIONS: [&str; 2] = ["chat_template_kwargs", "top_k"];
/// Fields of messages that other servers take.
const MESSAGE_EXTENSIONS: [&str; 1] = ["reasoning_content"];

/// One answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A message, whole or as a stream, as was asked.
    Message(Value),
    /// Why it stopped, with the message.
    Finish(&'static str, Value),
    /// A status with a header and a body.
    Status(u16, Option<(&'static str, &'static str)>, &'static str),
    /// 200, but of this type and text.
    Raw(&'static str, &'static str),
    /// A stream that ends after its first words without a reason.
    Cut(&'static str),
    /// A stream whose connection breaks after its first words.
    Broken(&'static str),
    /// Words only after so many milliseconds.
    Late(u64, Value),
    /// First words, then silence for so many milliseconds.
    Idle(u64, &'static str),
    /// A stream of these parts, each after so many milliseconds; at its end the connection
    /// breaks, if asked.
    Parts(Vec<(u64, String)>, bool),
    /// 200, of this content encoding and type.
    Encoded(&'static str, &'static str, &'static [u8]),
    /// As vLLM with a context of so many tokens: refuses what is longer.
    Window(u64, Value),
    /// One reply to requests that hold this text, another to all others.
    If(&'static str, Box<Reply>, Box<Reply>),
    /// What this makes of the request.
    By(Teacher),
}

/// Makes the reply to a request.
#[derive(Clone)]
pub(crate) struct Teacher(pub(crate) Arc<dyn Fn(&Value) -> Reply + Send + Sync>);

impl std::fmt::Debug for Teacher {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Teacher")
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<Mutex<ServerState>>,
    /// `None` while it is stopped.
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Default)]
struct ServerState {
    script: VecDeque<Reply>,
    /// Said when the script is over.
    last: Option<Reply>,
    requests: Vec<Value>,
    /// The list of models; none is a 404.
    models: Option<Value>,
    faults: Vec<String>,
}

/// The words of a message.
pub(crate) fn words(text: &str) -> Value {
    json!({ "content": text })
}

impl Server {
    /// Answers from the script, then with its last line for ever.
    pub(crate) fn new(script: impl IntoIterator<Item = Reply>) -> Server {
        let url = "http://127.0.0.1:0/v1".into();
        let mut server = Server { url, state: Arc::default(), runtime: None };
        server.script(script);
        server.start();
        server
    }

    /// Starts it again after [`Server::stop`], at its address.
    pub(crate) fn start(&mut self) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let routes = Router::new()
            .route("/v1/chat/completions", post(answer))
            .route("/v1/models", get(models))
            .with_state(self.state.clone());
        let address = self.url.trim_start_matches("http://").trim_end_matches("/v1");
        let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).unwrap();
        self.url = format!("http://{}/v1", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, routes).await });
        self.runtime = Some(runtime);
    }

    /// Stops it as if its process was killed: answers break off, and nothing listens at its
    /// address.
    pub(crate) fn stop(&mut self) {
        let runtime = self.runtime.take().unwrap();
        runtime.shutdown_timeout(Duration::from_secs(10));
    }

    /// Gives these replies from now on, the last one for ever.
    pub(crate) fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        let mut state = self.state.lock().unwrap();
        state.script = replies.into_iter().collect();
        state.last = state.script.back().cloned();
    }

    /// Lists these models.
    pub(crate) fn list(&self, models: Value) {
        self.state.lock().unwrap().models = Some(models);
    }

    /// What it was sent; a request that breaks the schema fails the test.
    #[track_caller]
    pub(crate) fn requests(&self) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        assert_eq!(state.faults, Vec::<String>::new());
        state.requests.clone()
    }
}

async fn models(State(state): State<Arc<Mutex<ServerState>>>) -> Response {
    match &state.lock().unwrap().models {
        Some(models) => plain(200, "application/json", models.to_string()),
        None => plain(404, "application/json", r#"{"detail":"Not Found"}"#.into()),
    }
}

async fn answer(
    State(state): State<Arc<Mutex<ServerState>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (reply, request) = {
        let mut state = state.lock().unwrap();
        let request: Value = serde_json::from_slice(&body).unwrap_or_default();
        if let Err(fault) = validate(&request, &headers) {
            state.faults.push(fault.clone());
            return plain(
                400,
                "application/json",
                json!({ "error": { "message": fault } }).to_string(),
            );
        }
        state.requests.push(request.clone());
        let next = state.script.pop_front().or_else(|| state.last.clone());
        (next.unwrap(), request)
    };
    reply_to(&request, reply).await
}

async fn reply_to(request: &Value, reply: Reply) -> Response {
    let streams = request["stream"] == true;
    match reply {
        Reply::If(text, then, otherwise) => {
            let chosen = if request.to_string().contains(text) { then } else { otherwise };
            Box::pin(reply_to(request, *chosen)).await
        }
        Reply::Window(window, message) => match too_long(request, window) {
            Some(why) => plain(400, "application/json", why),
            None => completion(streams, message, "stop"),
        },
        Reply::By(Teacher(reply)) => {
            let reply = reply(request);
            Box::pin(reply_to(request, reply)).await
        }
        Reply::Parts(parts, broken) => in_parts(parts, broken),
        Reply::Encoded(encoding, kind, bytes) => Response::builder()
            .header("content-type", kind)
            .header("content-encoding", encoding)
            .body(Body::from(bytes))
            .unwrap(),
        Reply::Message(message) => completion(streams, message, "stop"),
        Reply::Finish(reason, message) => completion(streams, message, reason),
        Reply::Late(wait, message) => {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            completion(streams, message, "stop")
        }
        Reply::Status(status, header, text) => {
            let mut response = plain(status, "application/json", text.into());
            if let Some((name, value)) = header {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Reply::Raw(kind, text) => plain(200, kind, text.into()),
        Reply::Cut(text) => events(vec![Ok(event(&chunk(words(text), None)))]),
        Reply::Broken(text) => then(text, 100, Some("gone")),
        Reply::Idle(wait, text) => then(text, wait, None),
    }
}

/// What vLLM writes if a prompt and its answer's limit exceed the window.
fn too_long(request: &Value, window: u64) -> Option<String> {
    let prompt = request["messages"].to_string().len() as u64 / 4;
    let limit = request["max_tokens"].as_u64().unwrap();
    let why = format!(
        "'max_tokens' or 'max_completion_tokens' is too large: {limit}. This model's maximum context length is {window} tokens and your request has {prompt} input tokens ({limit} > {window} - {prompt})."
    );
    let error = json!({ "object": "error", "message": why, "code": 400 });
    (prompt + limit > window).then(|| error.to_string())
}

fn in_parts(parts: Vec<(u64, String)>, broken: bool) -> Response {
    let end = broken.then(|| Err(std::io::Error::other("gone")));
    let parts = parts.into_iter().map(|(wait, text)| (wait, Ok(text)));
    let parts = parts.chain(end.map(|end| (50, end)));
    let parts = stream::iter(parts).then(|(wait, part)| async move {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        part
    });
    streamed(Body::from_stream(parts))
}

/// First words, then silence for so many milliseconds, then an
/// error where there is one.
fn then(text: &str, wait: u64, broken: Option<&'static str>) -> Response {
    let first = event(&chunk(words(text), None));
    let parts = stream::unfold(0, move |at| {
        let first = first.clone();
        async move {
            match at {
                0 => Some((Ok(first), 1)),
                1 => {
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                    broken.map(|why| (Err(std::io::Error::other(why)), 2))
                }
                _ => None,
            }
        }
    });
    streamed(Body::from_stream(parts))
}

/// Holds a request against the published schema, as async-openai types it:
/// what these types do not give back unchanged is not of the schema.
fn validate(request: &Value, headers: &HeaderMap) -> Result<(), String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if header("content-type") != Some("application/json") {
        return Err(format!("content-type is {:?}", header("content-type")));
    }
    if !header("authorization").is_some_and(|key| key.starts_with("Bearer ") && key.len() > 7) {
        return Err("there is no key".into());
    }
    let mut known = request.clone();
    let fields = known.as_object_mut().ok_or("the body is no object")?;
    fields.retain(|name, _| !EXTENSIONS.contains(&name.as_str()));
    let messages = fields.get_mut("messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten().filter_map(Value::as_object_mut) {
        message.retain(|name, _| !MESSAGE_EXTENSIONS.contains(&name.as_str()));
    }
    conversation(request["messages"].as_array().ok_or("there are no messages")?)?;
    let typed: CreateChatCompletionRequest =
        serde_json::from_value(known.clone()).map_err(|why| why.to_string())?;
    let again = serde_json::to_value(&typed).map_err(|why| why.to_string())?;
    same("", &known, &again)
}

/// What servers check of the messages: no answer is empty, and each call has one result.
fn conversation(messages: &[Value]) -> Result<(), String> {
    let mut open: Vec<&Value> = Vec::new();
    let mut ids: Vec<&Value> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        if message["role"] == "tool" {
            let id = &message["tool_call_id"];
            let call = open.iter().position(|call| call["id"] == *id);
            open.remove(call.ok_or(format!("messages/{at} answers no call"))?);
            continue;
        }
        if let Some(call) = open.first() {
            return Err(format!("messages/{at}: {call} has no result"));
        }
        if message["role"] != "assistant" {
            continue;
        }
        open = message["tool_calls"].as_array().into_iter().flatten().collect();
        if open.is_empty() && message["content"].as_str().unwrap_or_default().is_empty() {
            return Err(format!("messages/{at} has neither content nor calls"));
        }
        for call in &open {
            let arguments = call["function"]["arguments"].as_str().unwrap_or_default();
            serde_json::from_str::<serde_json::Map<String, Value>>(arguments)
                .map_err(|why| format!("messages/{at}: the arguments {arguments}: {why}"))?;
            if ids.contains(&&call["id"]) {
                return Err(format!("messages/{at}: the id of {call} is used before"));
            }
            ids.push(&call["id"]);
        }
    }
    Ok(())
}

fn same(place: &str, sent: &Value, known: &Value) -> Result<(), String> {
    match (sent, known) {
        (Value::Object(sent), Value::Object(known)) => sent.iter().try_for_each(|(name, value)| {
            let place = format!("{place}/{name}");
            same(&place, value, known.get(name).ok_or(format!("{place} is not of the schema"))?)
        }),
        (Value::Array(sent), Value::Array(known)) => {
            sent.iter().zip(known).try_for_each(|(sent, known)| same(place, sent, known))
        }
        (Value::Number(sent), Value::Number(known)) => {
            let (sent, known) = (sent.as_f64().unwrap(), known.as_f64().unwrap());
            let near = (sent - known).abs() < 1e-6;
            near.then_some(()).ok_or(format!("{place} is {sent}, not {known}"))
        }
        _ if sent == known => Ok(()),
        _ => Err(format!("{place} is {sent}, not {known}")),
    }
}

pub(crate) fn usage(message: &Value) -> Value {
    let written = message.to_string().len() as u64 / 4;
    json!({ "prompt_tokens": 100, "completion_tokens": written, "total_tokens": 100 + written,
        "prompt_tokens_details": { "cached_tokens": 40 },
        "completion_tokens_details": { "reasoning_tokens": 0 } })
}

fn completion(streams: bool, message: Value, reason: &str) -> Response {
    if !streams {
        let usage = usage(&message);
        let mut message = message;
        message["role"] = json!("assistant");
        let choice = json!({ "index": 0, "message": message, "finish_reason": reason });
        let whole = json!({ "id": "1", "object": "chat.completion", "created": 1,
            "model": "taught", "choices": [choice], "usage": usage });
        return plain(200, "application/json", whole.to_string());
    }
    let mut chunks = vec![Ok(": a comment\n\n".to_string())];
    let mut parts = Vec::new();
    for key in ["reasoning_content", "reasoning", "content", "refusal"] {
        let text: Vec<char> = message[key].as_str().unwrap_or_default().chars().collect();
        let size = (text.len() / 1000).max(7);
        parts.extend(text.chunks(size).map(|part| json!({ key: part.iter().collect::<String>() })));
    }
    for (index, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
        let mut call = call.clone();
        call["index"] = json!(index);
        parts.push(json!({ "tool_calls": [call] }));
    }
    chunks.extend(parts.into_iter().map(|part| Ok(event(&chunk(part, None)))));
    chunks.push(Ok(event(&chunk(json!({}), Some(reason)))));
    let last = json!({ "id": "1", "object": "chat.completion.chunk", "created": 1,
        "model": "taught", "choices": [], "usage": usage(&message) });
    chunks.push(Ok(event(&last)));
    chunks.push(Ok("data: [DONE]\n\n".to_string()));
    events(chunks)
}

pub(crate) fn chunk(delta: Value, reason: Option<&str>) -> Value {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": reason });
    json!({ "id": "1", "object": "chat.completion.chunk", "created": 1, "model": "taught",
        "choices": [choice] })
}

pub(crate) fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn events(parts: Vec<Result<String, std::io::Error>>) -> Response {
    streamed(Body::from_stream(stream::iter(parts)))
}

fn streamed(body: Body) -> Response {
    Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
}

fn plain(status: u16, kind: &str, text: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    Response::builder().status(status).header("content-type", kind).body(Body::from(text)).unwrap()
}
