//! One call over the network, through async-openai.
//!
//! async-openai makes the requests, as plain JSON (its `byot` methods). The bytes of answers
//! are read by our own [`AnswerReader`]: client libraries take only the forms that OpenAI
//! sends, and lose the words and the status of answers in other forms.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use fixfly_runtime::Finish;
use reqwest::Response;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use serde_json::Value;

use super::balancer::Outcome;
use super::encoding::Decoder;
use super::profile::{Resolved, Seconds};
use super::reader::{AnswerError, AnswerReader};
use super::response::Reply;
use super::server_error::ServerError;

/// How long we wait for counts of tokens after an answer's last word, in seconds.
const AFTER_END: f64 = 10.0;
/// How long we wait for an error's text, or for a list of models, in seconds.
const ASIDE: f64 = 10.0;

/// A client of one server, with its timeouts.
pub(crate) struct Client {
    client: async_openai::Client<OpenAIConfig>,
    seconds: Seconds,
    stream: bool,
    reasons: BTreeMap<String, Finish>,
}

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The server reported an error.
    #[error("{error}")]
    Server { error: Box<ServerError>, received: usize },
    /// No connection to the server could be made.
    #[error("{why}")]
    Unreachable { why: String },
    /// The connection broke.
    #[error("{why}")]
    Disconnected { why: String, received: usize },
    /// The answer cannot be read, or is not complete.
    #[error("{why}")]
    Broken { why: String, received: usize },
    /// The answer ended for a reason that we do not know.
    #[error("{error}")]
    UnknownReason { error: AnswerError, word: String, received: usize },
    /// A time limit was exceeded.
    #[error("{what} took more than {seconds} s")]
    TimedOut { what: Part, seconds: f64, received: usize },
}

/// What a time limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    First,
    Next,
    Whole,
    Models,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::First => "the first part of the answer",
            Part::Next => "the next part of the answer",
            Part::Whole => "the whole answer",
            Part::Models => "the list of models",
        })
    }
}

impl CallError {
    /// Bytes of text received before the failure; they are paid for.
    pub(crate) fn received(&self) -> usize {
        match self {
            CallError::Unreachable { .. } => 0,
            CallError::Server { received, .. }
            | CallError::Disconnected { received, .. }
            | CallError::Broken { received, .. }
            | CallError::UnknownReason { received, .. }
            | CallError::TimedOut { received, .. } => *received,
        }
    }

    /// What it shows about the server. `longest` is the longest wait that a server may ask
    /// for.
    pub(crate) fn outcome(&self, longest: Duration) -> Outcome {
        if let Some(wait) = self.retry_after().filter(|wait| *wait > longest) {
            return Outcome::Resting(wait);
        }
        match self {
            CallError::Server { error, .. } if error.is_of_gateway() => Outcome::Broken,
            CallError::Server { error, .. } if error.status() >= 500 && error.is_transient() => {
                Outcome::Failed
            }
            CallError::Unreachable { .. } => Outcome::Unreachable,
            CallError::Disconnected { .. } => Outcome::Broken,
            // A model that writes for too long is no failure of its server.
            CallError::TimedOut { what: Part::Whole, .. } => Outcome::Answered,
            CallError::TimedOut { .. } => Outcome::Broken,
            CallError::Server { .. }
            | CallError::Broken { .. }
            | CallError::UnknownReason { .. } => Outcome::Answered,
        }
    }

    /// How long the server asks us to wait before we retry.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            CallError::Server { error, .. } => error.wait(),
            _ => None,
        }
    }

    /// Whether the same call may succeed if it is repeated.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            CallError::Server { error, .. } => error.is_transient(),
            _ => true,
        }
    }

    /// Whether the server asks for fewer requests.
    pub(crate) fn is_rate_limit(&self) -> bool {
        matches!(self, CallError::Server { error, .. } if error.status() == 429)
    }

    fn of_answer(error: AnswerError, received: usize) -> CallError {
        match error {
            AnswerError::Reported(error) => CallError::Server { error, received },
            AnswerError::Broken(why) => CallError::Broken { why, received },
            AnswerError::UnknownReason(ref word) => {
                CallError::UnknownReason { word: word.clone(), error, received }
            }
        }
    }

    fn of_sending(error: &OpenAIError) -> CallError {
        match error {
            OpenAIError::Reqwest(inner) if inner.is_connect() => {
                CallError::Unreachable { why: causes(error) }
            }
            OpenAIError::Reqwest(_) => CallError::disconnected(error, 0),
            _ => CallError::broken(causes(error), 0),
        }
    }

    fn disconnected(error: &dyn std::error::Error, received: usize) -> CallError {
        CallError::Disconnected { why: causes(error), received }
    }

    fn broken(why: impl Into<String>, received: usize) -> CallError {
        CallError::Broken { why: why.into(), received }
    }
}

impl Client {
    /// A client of the server at this address.
    pub(crate) fn open(remote: &Resolved, address: &str, key: &str) -> Result<Client, String> {
        // It fails if another policy in this process has installed one; that is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let seconds = remote.profile.seconds;
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs_f64(seconds.connect))
            .user_agent(concat!("fixfly/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|why| format!("cannot make connections: {why}"))?;
        let service = tower::service_fn(move |request| send(http.clone(), request));
        let config = OpenAIConfig::new().with_api_base(address).with_api_key(key);
        Ok(Client {
            client: async_openai::Client::with_config(config).with_http_service(service),
            seconds,
            stream: remote.stream,
            reasons: remote.profile.finish_reasons.clone(),
        })
    }

    /// Makes one call.
    pub(crate) async fn ask(&self, body: &Value) -> Result<Reply, CallError> {
        let clock = Instant::now();
        let total = Duration::from_secs_f64(self.seconds.total);
        let mut reader = None;
        let asked = tokio::time::timeout(total, self.receive(body, &mut reader, clock)).await;
        let received = reader.as_ref().map_or(0, AnswerReader::size);
        let first_token_ms = match asked {
            Ok(asked) => asked?,
            Err(_) if reader.as_ref().is_some_and(AnswerReader::is_whole) => None,
            Err(_) => {
                let seconds = self.seconds.total;
                return Err(CallError::TimedOut { what: Part::Whole, seconds, received });
            }
        };
        let Some(reader) = reader else { return Err(CallError::broken("there is no answer", 0)) };
        let reply = reader.end().map_err(|error| CallError::of_answer(error, received))?;
        Ok(Reply { first_token_ms, total_ms: clock.elapsed().as_millis() as u64, ..reply })
    }

    /// The server's list of models, if it has one. A server that refuses to list them
    /// answers, too.
    pub(crate) async fn models(&self) -> Result<Option<Value>, CallError> {
        let models = async {
            let asked = response(self.client.models().list_byot::<Value>()).await;
            let response = asked.map_err(|error| CallError::of_sending(&error))?;
            if response.status().is_success() {
                let bytes = response.bytes().await;
                let bytes = bytes.map_err(|error| CallError::disconnected(&error, 0))?;
                return Ok(serde_json::from_slice(&bytes).ok());
            }
            match refusal(response).await {
                CallError::Server { error, received } if error.is_of_gateway() => {
                    Err(CallError::Server { error, received })
                }
                _ => Ok(None),
            }
        };
        within(Some(ASIDE), Part::Models, 0, models).await?
    }

    /// Sends the request and reads the answer into `reader`. Returns when its first words
    /// came, in milliseconds.
    async fn receive(
        &self,
        body: &Value,
        reader: &mut Option<AnswerReader>,
        clock: Instant,
    ) -> Result<Option<u64>, CallError> {
        let first = self.stream.then_some(self.seconds.first_byte);
        let chat = self.client.chat();
        let sent = response(chat.create_byot::<_, Value>(body));
        let sent = within(first, Part::First, 0, sent).await?;
        let mut response = sent.map_err(|error| CallError::of_sending(&error))?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let mut decoder = Decoder::new(&header(&response, CONTENT_ENCODING.as_str()))
            .map_err(|why| CallError::broken(why, 0))?;
        let label = header(&response, CONTENT_TYPE.as_str());
        let reader = reader.insert(AnswerReader::new(&label).with_reasons(&self.reasons));
        let mut first_token_ms = None;
        while !reader.is_done() {
            // Any bytes are a sign of life, comments too: each wait starts anew.
            let (patience, what) = match (reader.has_reason(), first_token_ms) {
                (true, _) => (Some(self.seconds.idle.min(AFTER_END)), Part::Next),
                (false, None) => (first, Part::First),
                (false, Some(_)) => (Some(self.seconds.idle), Part::Next),
            };
            let received = reader.size();
            let chunk = match within(patience, what, received, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => break,
                // What breaks off after its last word is whole.
                Ok(Err(_)) | Err(_) if reader.is_whole() => break,
                Ok(Err(error)) => return Err(CallError::disconnected(&error, received)),
                Err(error) => return Err(error),
            };
            let bytes = match decoder.push(&chunk) {
                Ok(bytes) => bytes,
                Err(_) if reader.is_whole() => break,
                Err(why) => {
                    let why = format!("the answer cannot be decompressed: {why}");
                    return Err(CallError::broken(why, received));
                }
            };
            let words =
                reader.push(&bytes).map_err(|error| CallError::of_answer(error, received))?;
            if words && self.stream && first_token_ms.is_none() {
                first_token_ms = Some(clock.elapsed().as_millis() as u64);
            }
        }
        Ok(first_token_ms)
    }
}

tokio::task_local! {
    /// The response to the call that a task is in.
    static RESPONSE: RefCell<Option<Response>>;
}

/// Sends one request of async-openai and keeps the response for [`response`]. async-openai
/// gets an empty object in its place, because it reads only OpenAI's form of answers.
async fn send(http: reqwest::Client, request: HttpRequestFactory) -> Result<Response, OpenAIError> {
    let mut request = request.build().await?;
    // A compressed stream reaches us late: proxies hold it back.
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let response = http.execute(request).await.map_err(OpenAIError::Reqwest)?;
    RESPONSE.with(|kept| kept.replace(Some(response)));
    Ok(http::Response::new("{}").into())
}

/// The response to a call of async-openai, of any status.
async fn response<T>(
    call: impl Future<Output = Result<T, OpenAIError>>,
) -> Result<Response, OpenAIError> {
    let kept = RESPONSE.scope(RefCell::default(), async {
        let ended = call.await;
        (ended, RESPONSE.with(RefCell::take))
    });
    match kept.await {
        (_, Some(response)) => Ok(response),
        (Err(error), None) => Err(error),
        (Ok(_), None) => Err(OpenAIError::InvalidArgument("there is no response".into())),
    }
}

async fn within<T>(
    seconds: Option<f64>,
    what: Part,
    received: usize,
    work: impl Future<Output = T>,
) -> Result<T, CallError> {
    let Some(seconds) = seconds else { return Ok(work.await) };
    tokio::time::timeout(Duration::from_secs_f64(seconds), work)
        .await
        .map_err(|_| CallError::TimedOut { what, seconds, received })
}

/// The error in an unsuccessful response.
async fn refusal(response: Response) -> CallError {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let encoding = header(&response, CONTENT_ENCODING.as_str());
    let bytes = tokio::time::timeout(Duration::from_secs_f64(ASIDE), response.bytes()).await;
    let bytes = bytes.ok().and_then(Result::ok).unwrap_or_default();
    let decoded = Decoder::new(&encoding).ok().and_then(|mut decoder| decoder.push(&bytes).ok());
    let text = String::from_utf8_lossy(decoded.as_deref().unwrap_or(&bytes)).into_owned();
    let find = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_string());
    let error = ServerError::of_status(status, &find, &text);
    CallError::Server { error: Box::new(error), received: 0 }
}

/// A header's value; empty if there is none.
fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_string()
}

/// An error with all its causes, each once: the outermost alone has too little detail.
fn causes(error: &dyn std::error::Error) -> String {
    let mut all = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !all.ends_with(&text) {
            all = format!("{all}: {text}");
        }
        next = cause.source();
    }
    all
}
