//! Requests to stop a run: Ctrl-C and SIGTERM.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// A stream of requests to stop.
pub struct Interrupts(mpsc::UnboundedReceiver<()>);

impl Interrupts {
    /// Turns Ctrl-C and SIGTERM into requests to stop. Needs a tokio runtime.
    ///
    /// # Errors
    /// An I/O error if the signals cannot be received.
    pub fn listen() -> io::Result<Self> {
        let (sender, interrupts) = Interrupts::channel();
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let mut signals = signal(kind)?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() && sender.send(()).is_ok() {}
            });
        }
        Ok(interrupts)
    }

    /// Requests that the program itself makes.
    pub fn channel() -> (mpsc::UnboundedSender<()>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Interrupts(receiver))
    }

    /// No requests: the run goes on to its end.
    pub fn none() -> Self {
        Interrupts::channel().1
    }

    /// Waits for the next request; forever if there can be no more.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}
