//! Sends the spans of a run to an OpenTelemetry collector, by OTLP over HTTP.
//!
//! Spans are made of recorded episodes, so the loop knows nothing of them, and their times
//! are those of the record. Only facts are sent: texts of models and tools need
//! [`Otlp::content`].

mod hosts;
mod observer;
mod spans;

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter as Exporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use reqwest::Url;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

/// The most batches that wait for the collector. Later ones are lost.
const WAITING: usize = 1_024;

/// The most spans of a request, unless one episode has more.
const BATCH: usize = 512;

/// How long a request may take, and the end of a run may wait for the last one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where spans are sent, and what they contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// The collector, e.g. `http://localhost:4318`.
    pub url: String,
    /// Whether the texts of models and tools are sent too.
    pub content: bool,
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The address is not one of a collector.
    #[error("--otlp {url}: {why}; write the collector's address, such as http://localhost:4318")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The address has a password, which messages would show.
    #[error(
        "--otlp: the address has a user name or a password; pass them in the environment variable \
         OTEL_EXPORTER_OTLP_HEADERS instead"
    )]
    Password,
}

/// Sends what an observer makes, in the background.
#[derive(Debug)]
struct Sending {
    task: JoinHandle<()>,
    url: String,
}

impl Sending {
    /// Waits until the collector has everything, but not for long. The observer must have
    /// ended or be dropped.
    async fn finish(self) {
        if tokio::time::timeout(PATIENCE, self.task).await.is_err() {
            tracing::warn!("the last spans are lost: {} does not answer", self.url);
        }
    }
}

/// Starts to send. Returns the queue for batches of spans.
fn start(otlp: &Otlp) -> Result<(Sender<Vec<SpanData>>, Sending), OtlpError> {
    let address = |why: String| OtlpError::Address { url: otlp.url.clone(), why };
    let url = Url::parse(&otlp.url).map_err(|why| address(why.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(OtlpError::Password);
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(address("it is neither http nor https".into()));
    }
    // Another part of the program may have chosen it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(PATIENCE).build();
    let mut exporter = Exporter::builder()
        .with_http()
        .with_http_client(client.map_err(|why| address(why.to_string()))?)
        .with_endpoint(traces(&url))
        .with_timeout(PATIENCE)
        .build()
        .map_err(|why| address(why.to_string()))?;
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder_empty()
        .with_attributes([KeyValue::new("service.name", "fixfly"), version])
        .build();
    exporter.set_resource(&resource);
    let (give, take) = channel(WAITING);
    let task = tokio::spawn(send(exporter, take, otlp.url.clone()));
    Ok((give, Sending { task, url: otlp.url.clone() }))
}

/// The collector's address for spans.
fn traces(url: &Url) -> String {
    let url = url.as_str().trim_end_matches('/');
    if url.ends_with("/v1/traces") { url.to_string() } else { format!("{url}/v1/traces") }
}

/// Sends batches until the queue is closed. A collector that fails is mentioned once, and
/// asked again with the next batch.
async fn send(exporter: Exporter, mut queue: Receiver<Vec<SpanData>>, url: String) {
    let mut is_warned = false;
    while let Some(mut batch) = queue.recv().await {
        while batch.len() < BATCH
            && let Ok(more) = queue.try_recv()
        {
            batch.extend(more);
        }
        if let Err(why) = exporter.export(batch).await
            && !is_warned
        {
            is_warned = true;
            tracing::warn!("spans are lost, the run continues: {url} does not take them: {why}");
        }
    }
}

#[cfg(test)]
mod tests;
