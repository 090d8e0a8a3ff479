//! Requests to stop a run: Ctrl-C and SIGTERM.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// A stream of requests to stop.
pub struct Interrupts(mpsc::UnboundedReceiver<()>);

impl Interrupts {
    /// Converts Ctrl-C and SIGTERM to requests to stop. Needs a tokio runtime.
    ///
    /// # Errors
    /// An I/O error if the signal handlers cannot be installed.
    pub fn listen() -> io::Result<Self> {
        Interrupts::of_signals(None)
    }

    /// As [`Interrupts::listen`]; also requests a stop again so long after SIGTERM. Batch
    /// systems send SIGTERM, and kill what has not ended after some time: until then, what
    /// cannot finish has to be aborted.
    ///
    /// # Errors
    /// An I/O error if the signal handlers cannot be installed.
    pub fn listen_with_notice(notice: Duration) -> io::Result<Self> {
        Interrupts::of_signals(Some(notice))
    }

    fn of_signals(notice: Option<Duration>) -> io::Result<Self> {
        let (sender, interrupts) = Interrupts::channel();
        let kinds = [(SignalKind::interrupt(), None), (SignalKind::terminate(), notice)];
        for (kind, notice) in kinds {
            let mut signals = signal(kind)?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() && sender.send(()).is_ok() {
                    if let Some(notice) = notice {
                        let sender = sender.clone();
                        tokio::spawn(async move {
                            tokio::time::sleep(notice).await;
                            let _ = sender.send(());
                        });
                    }
                }
            });
        }
        Ok(interrupts)
    }

    /// Requests from the program itself.
    pub fn channel() -> (mpsc::UnboundedSender<()>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Interrupts(receiver))
    }

    /// No requests: the run continues to its end.
    pub fn none() -> Self {
        Interrupts::channel().1
    }

    /// Waits for the next request; forever if there cannot be one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}
