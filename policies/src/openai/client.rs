//! One call over the network, through async-openai.
//!
//! Requests and answers are plain JSON (its `byot` methods), because its types
//! cover neither reasoning nor the extensions of other servers. We read error
//! responses ourselves, because the library loses the status of a response that
//! is not JSON in OpenAI's form.

use std::time::{Duration, Instant};

use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use futures::StreamExt;
use serde_json::Value;

use super::profile::{Resolved, Seconds};
use super::response::{Parts, Reply};

/// A client of one server, with its timeouts.
pub(crate) struct Client {
    client: async_openai::Client<OpenAIConfig>,
    seconds: Seconds,
    stream: bool,
}

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The server answered with an error status.
    #[error("the server answered {status}: {message}")]
    Status { status: u16, message: String, retry_after: Option<Duration> },
    /// The server could not be reached, or its answer is not complete.
    #[error("{why}")]
    Broken { why: String, received: usize },
    /// A time limit was exceeded.
    #[error("{what} took more than {seconds} s")]
    TimedOut { what: &'static str, seconds: f64, received: usize },
}

impl CallError {
    /// Bytes of text received before the failure; they are paid for.
    pub(crate) fn received(&self) -> usize {
        match self {
            CallError::Status { .. } => 0,
            CallError::Broken { received, .. } | CallError::TimedOut { received, .. } => *received,
        }
    }

    /// How long the server asks us to wait before we retry.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            CallError::Status { retry_after, .. } => *retry_after,
            CallError::Broken { .. } | CallError::TimedOut { .. } => None,
        }
    }

    /// Whether the same call may succeed if it is repeated.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            CallError::Status { status, .. } => matches!(status, 408 | 409 | 425 | 429 | 500..),
            CallError::Broken { .. } | CallError::TimedOut { .. } => true,
        }
    }

    fn broken(why: impl Into<String>) -> Self {
        CallError::Broken { why: why.into(), received: 0 }
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
        let service = tower::service_fn(move |request| send(http.clone(), request));
        let config = OpenAIConfig::new().with_api_base(&remote.base_url).with_api_key(key);
        let client = async_openai::Client::with_config(config).with_http_service(service);
        Ok(Client { client, seconds, stream: remote.stream })
    }

    /// Makes one call.
    pub(crate) async fn ask(&self, body: &Value) -> Result<Reply, CallError> {
        let clock = Instant::now();
        let total = Duration::from_secs_f64(self.seconds.total);
        let mut parts = Parts::default();
        let asked = tokio::time::timeout(total, async {
            match self.stream {
                true => self.streamed(body, &mut parts, clock).await,
                false => self.whole(body).await.map(|reply| (reply, None)),
            }
        });
        let asked = asked.await;
        let received = parts.size();
        let (reply, first_token_ms) = match asked {
            Ok(asked) => asked?,
            Err(_) => {
                let seconds = self.seconds.total;
                return Err(CallError::TimedOut { what: "the whole answer", seconds, received });
            }
        };
        Ok(Reply { first_token_ms, total_ms: clock.elapsed().as_millis() as u64, ..reply })
    }

    async fn whole(&self, body: &Value) -> Result<Reply, CallError> {
        let answer: Value =
            self.client.chat().create_byot(body).await.map_err(|error| call_error(error, 0))?;
        Parts::whole(&answer).map_err(CallError::broken)
    }

    async fn streamed(
        &self,
        body: &Value,
        parts: &mut Parts,
        clock: Instant,
    ) -> Result<(Reply, Option<u64>), CallError> {
        let chat = self.client.chat();
        let opening = chat.create_stream_byot::<_, Value>(body);
        let first = self.seconds.first_byte;
        let mut stream = within(first, "the first part of the answer", 0, opening)
            .await?
            .map_err(|error| call_error(error, 0))?;
        let mut first_token_ms = None;
        loop {
            let (patience, what) = match first_token_ms {
                None => (first, "the first part of the answer"),
                Some(_) => (self.seconds.idle, "the next part of the answer"),
            };
            let Some(chunk) = within(patience, what, parts.size(), stream.next()).await? else {
                break;
            };
            let chunk = chunk.map_err(|error| call_error(error, parts.size()))?;
            let received = parts.size();
            let words = parts.add(&chunk).map_err(|why| CallError::Broken { why, received })?;
            if words && first_token_ms.is_none() {
                first_token_ms = Some(clock.elapsed().as_millis() as u64);
            }
        }
        let received = parts.size();
        let reply = std::mem::take(parts).done();
        Ok((reply.map_err(|why| CallError::Broken { why, received })?, first_token_ms))
    }
}

async fn within<T>(
    seconds: f64,
    what: &'static str,
    received: usize,
    work: impl Future<Output = T>,
) -> Result<T, CallError> {
    tokio::time::timeout(Duration::from_secs_f64(seconds), work)
        .await
        .map_err(|_| CallError::TimedOut { what, seconds, received })
}

/// Sends one request. Turns an unsuccessful response into an error with its status.
async fn send(
    http: reqwest::Client,
    request: HttpRequestFactory,
) -> Result<reqwest::Response, OpenAIError> {
    let request = request.build().await?;
    let response = http.execute(request).await.map_err(OpenAIError::Reqwest)?;
    let status = response.status();
    let kind = header(&response, "content-type").unwrap_or_default();
    if status.is_success() {
        let right = kind.contains("json") || kind.contains("event-stream");
        return match right || kind.is_empty() {
            true => Ok(response),
            false => Err(boxed(CallError::broken(format!(
                "the server answered with `{kind}`, not with JSON: is the address right, up to and including /v1?"
            )))),
        };
    }
    let retry_after = header(&response, "retry-after").and_then(|value| parse_retry_after(&value));
    let text = response.text().await.unwrap_or_default();
    // OpenAI answers "too many requests" for an account without money, too.
    let status = if text.contains("insufficient_quota") { 402 } else { status.as_u16() };
    Err(boxed(CallError::Status { status, message: message(&text), retry_after }))
}

fn header(response: &reqwest::Response, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_string())
}

/// Parses seconds or a date.
fn parse_retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0).then(|| Duration::from_secs_f64(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Duration::try_from(date.duration_since(jiff::Timestamp::now())).ok()
}

/// The server's own message, in whatever form it sends it.
fn message(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let found = ["/error/message", "/message", "/detail", "/error"]
        .iter()
        .find_map(|pointer| value.pointer(pointer)?.as_str());
    let words = found.unwrap_or(text).split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(500).collect()
}

fn boxed(error: CallError) -> OpenAIError {
    OpenAIError::Boxed(Box::new(error))
}

fn call_error(error: OpenAIError, received: usize) -> CallError {
    match error {
        OpenAIError::Boxed(error) => match error.downcast::<CallError>() {
            Ok(error) => *error,
            Err(error) => CallError::Broken { why: error.to_string(), received },
        },
        OpenAIError::JSONDeserialize(why, text) => {
            let start: String = text.chars().take(200).collect();
            CallError::Broken { why: format!("the answer is not JSON ({why}): {start}"), received }
        }
        OpenAIError::Reqwest(error) => CallError::Broken { why: causes(&error), received },
        error => CallError::Broken { why: error.to_string(), received },
    }
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
