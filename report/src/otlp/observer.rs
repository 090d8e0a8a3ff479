//! An observer that makes spans and passes everything on.

use std::sync::Arc;
use std::time::SystemTime;

use fixfly_runtime::{
    Episode, EpisodeSummary, ExecuteError, Host, Interrupts, Observer, Run, RunOutcome,
};
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::mpsc::Sender;

use super::hosts::Timed;
use super::spans::{RunFacts, RunSpans};
use super::{Otlp, OtlpError, Sending, start};

impl Otlp {
    /// Executes a run and sends its spans, while `observer` observes it. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`OtlpError`] if the address is wrong; then nothing was executed. A collector that
    /// cannot be reached is a warning.
    pub async fn execute(
        &self,
        mut run: Run,
        observer: impl Observer,
        interrupts: &mut Interrupts,
    ) -> Result<Result<RunOutcome, ExecuteError>, OtlpError> {
        let spec = &run.spec;
        let facts = RunFacts {
            run: spec.output.display().to_string(),
            benchmark: spec.benchmark.clone(),
            policy: spec.policy.clone(),
            model: spec.model.as_ref().and_then(|model| model.model.clone()),
        };
        let (mut traced, sending) = Traced::start(observer, self, facts)?;
        run.host = Arc::new(traced.host(run.host));
        let outcome = run.execute(&mut traced, interrupts).await;
        drop(traced);
        sending.finish().await;
        Ok(outcome)
    }
}

/// Makes spans of the episodes that `inner` observes.
#[derive(Debug)]
pub(super) struct Traced<O> {
    inner: O,
    spans: RunSpans,
    queue: Option<Sender<Vec<SpanData>>>,
    is_full: bool,
}

impl<O: Observer> Traced<O> {
    pub(super) fn start(
        inner: O,
        otlp: &Otlp,
        facts: RunFacts,
    ) -> Result<(Self, Sending), OtlpError> {
        let (queue, sending) = start(otlp)?;
        let spans = RunSpans::new(facts, otlp.content, SystemTime::now());
        Ok((Traced { inner, spans, queue: Some(queue), is_full: false }, sending))
    }

    /// A host that also makes spans.
    pub(super) fn host(&self, host: Arc<dyn Host>) -> Timed {
        Timed::new(host, self.spans.clone(), self.queue.clone())
    }

    fn give(&mut self, spans: Vec<SpanData>) {
        let Some(queue) = &self.queue else { return };
        if queue.try_send(spans).is_err() && !self.is_full {
            self.is_full = true;
            tracing::warn!("spans are lost, the run continues: the collector is too slow");
        }
    }
}

impl<O: Observer> Observer for Traced<O> {
    fn started(&mut self, total: usize, finished: &[EpisodeSummary]) {
        self.inner.started(total, finished);
    }

    fn recorded(&mut self, episode: &Episode) {
        let spans = self.spans.episode(episode);
        self.give(spans);
        self.inner.recorded(episode);
    }

    fn status(&mut self, line: &str) {
        self.inner.status(line);
    }

    fn waiting(&mut self, what: Option<String>) {
        self.inner.waiting(what);
    }

    fn tick(&mut self) {
        self.inner.tick();
    }

    fn ended(&mut self) {
        let run = self.spans.run(SystemTime::now());
        self.give(vec![run]);
        // The task that sends ends with the queue.
        self.queue = None;
        self.inner.ended();
    }
}
