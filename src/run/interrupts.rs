//! Handling of Ctrl-C and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use anyhow::Context;

/// A stream of requests to stop.
pub(crate) struct Interrupts(mpsc::UnboundedReceiver<()>);

impl Interrupts {
    /// Turns Ctrl-C and SIGTERM into requests to stop.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let mut signals = signal(kind).context("cannot listen for Ctrl-C")?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() && sender.send(()).is_ok() {}
            });
        }
        Ok(Interrupts(receiver))
    }

    /// Waits for the next request; forever if there can be no more.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }

    #[cfg(test)]
    pub(crate) fn by_hand() -> (mpsc::UnboundedSender<()>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Interrupts(receiver))
    }
}
