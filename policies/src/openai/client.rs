//! One call over the network.
//!
//! Requests and answers are plain JSON, and the bytes of answers are read by our own
//! [`AnswerReader`]: client libraries take only the forms that OpenAI sends, and lose the
//! words and the status of answers in other forms.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fixfly_runtime::Finish;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

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
    http: reqwest::Client,
    base_url: String,
    key: String,
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
    /// The server could not be reached, or its answer is not complete.
    #[error("{why}")]
    Broken { why: String, received: usize },
    /// The answer ended for a reason that we do not know.
    #[error("{error}")]
    UnknownReason { error: AnswerError, word: String, received: usize },
    /// A time limit was exceeded.
    #[error("{what} took more than {seconds} s")]
    TimedOut { what: &'static str, seconds: f64, received: usize },
}

impl CallError {
    /// Bytes of text received before the failure; they are paid for.
    pub(crate) fn received(&self) -> usize {
        match self {
            CallError::Server { received, .. }
            | CallError::Broken { received, .. }
            | CallError::UnknownReason { received, .. }
            | CallError::TimedOut { received, .. } => *received,
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

    fn broken(why: impl Into<String>, received: usize) -> CallError {
        CallError::Broken { why: why.into(), received }
    }
}

impl Client {
    pub(crate) fn open(remote: &Resolved, key: &str) -> Result<Client, String> {
        // It fails if another policy in this process has installed one; that is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let seconds = remote.profile.seconds;
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs_f64(seconds.connect))
            .user_agent(concat!("fixfly/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|why| format!("cannot make connections: {why}"))?;
        Ok(Client {
            http,
            base_url: remote.base_url.clone(),
            key: key.into(),
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
                return Err(CallError::TimedOut { what: "the whole answer", seconds, received });
            }
        };
        let Some(reader) = reader else { return Err(CallError::broken("there is no answer", 0)) };
        let reply = reader.end().map_err(|error| CallError::of_answer(error, received))?;
        Ok(Reply { first_token_ms, total_ms: clock.elapsed().as_millis() as u64, ..reply })
    }

    /// The server's list of models, if it has one.
    pub(crate) async fn models(&self) -> Option<Value> {
        let get = self.http.get(format!("{}/models", self.base_url));
        let get = self.with_key(get).timeout(Duration::from_secs_f64(ASIDE));
        let response = get.send().await.ok().filter(|response| response.status().is_success())?;
        serde_json::from_slice(&response.bytes().await.ok()?).ok()
    }

    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        // A compressed stream reaches us late: proxies hold it back.
        request.bearer_auth(&self.key).header(ACCEPT_ENCODING, "identity")
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
        let post = self.http.post(format!("{}/chat/completions", self.base_url));
        let request =
            self.with_key(post).header(CONTENT_TYPE, "application/json").body(body.to_string());
        let sent = within(first, FIRST, 0, request.send()).await?;
        let mut response = sent.map_err(|error| CallError::broken(causes(&error), 0))?;
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
                (true, _) => (Some(self.seconds.idle.min(AFTER_END)), NEXT),
                (false, None) => (first, FIRST),
                (false, Some(_)) => (Some(self.seconds.idle), NEXT),
            };
            let received = reader.size();
            let chunk = match within(patience, what, received, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => break,
                // What breaks off after its last word is whole.
                Ok(Err(_)) | Err(_) if reader.is_whole() => break,
                Ok(Err(error)) => return Err(CallError::broken(causes(&error), received)),
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

const FIRST: &str = "the first part of the answer";
const NEXT: &str = "the next part of the answer";

async fn within<T>(
    seconds: Option<f64>,
    what: &'static str,
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

/// An error with all its causes: the outermost alone has too little detail.
fn causes(error: &dyn std::error::Error) -> String {
    let mut all = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        all = format!("{all}: {cause}");
        next = cause.source();
    }
    all
}
