//! A host whose openings of sandboxes are spans.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use fixfly_runtime::{Admission, Host, Protection, Sandbox, SandboxError, SandboxSpec};
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::mpsc::{Sender, WeakSender};

use super::spans::RunSpans;

/// Opens sandboxes by another host. An episode does not record when it opened one, so the
/// spans belong to the run.
pub(super) struct Timed {
    inner: Arc<dyn Host>,
    spans: RunSpans,
    /// Does not keep the queue open after the run.
    queue: Option<WeakSender<Vec<SpanData>>>,
}

impl Timed {
    pub(super) fn new(
        inner: Arc<dyn Host>,
        spans: RunSpans,
        queue: Option<Sender<Vec<SpanData>>>,
    ) -> Self {
        Timed { inner, spans, queue: queue.map(|queue| queue.downgrade()) }
    }
}

#[async_trait]
impl Host for Timed {
    async fn open(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        let start = SystemTime::now();
        let opened = self.inner.open(spec).await;
        let span = self.spans.sandbox(start, SystemTime::now(), opened.is_ok());
        if let Some(queue) = self.queue.as_ref().and_then(WeakSender::upgrade) {
            // The observer tells if the queue is full.
            let _ = queue.try_send(vec![span]);
        }
        opened
    }

    fn isolation(&self) -> String {
        self.inner.isolation()
    }

    async fn protections(&self) -> Vec<Protection> {
        self.inner.protections().await
    }

    async fn offers(&self, image: &str) -> bool {
        self.inner.offers(image).await
    }

    fn judge(&self) -> Option<Arc<dyn Host>> {
        self.inner.judge()
    }

    fn runs_here(&self) -> bool {
        self.inner.runs_here()
    }

    fn admission(&self) -> Option<Arc<Admission>> {
        self.inner.admission()
    }
}
