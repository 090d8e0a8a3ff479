//! Waits of requests: shown while they last, and ended when the run stops.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::hints::readable;
use super::server_error::line;

/// The waits of a run's requests.
#[derive(Debug)]
pub(super) struct Waits {
    stopped: watch::Sender<bool>,
    all: Mutex<BTreeMap<u64, (Instant, String)>>,
    next: AtomicU64,
}

/// The run stops: nobody waits any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the run was stopped while a request waited")]
pub(super) struct Stopped;

/// A wait that is shown until this is dropped.
struct Shown<'a>(&'a Waits, u64);

impl Waits {
    pub(super) fn new() -> Waits {
        let (stopped, _) = watch::channel(false);
        Waits { stopped, all: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Waits for this reason.
    pub(super) async fn sleep(&self, wait: Duration, why: &str) -> Result<(), Stopped> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.all().insert(number, (Instant::now() + wait, line(why, 120)));
        let _shown = Shown(self, number);
        self.unless_stopped(tokio::time::sleep(wait)).await
    }

    /// Waits for something else.
    pub(super) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, Stopped> {
        let stopped = async {
            let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = stopped => Err(Stopped),
        }
    }

    /// Ends all waits, also later ones.
    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// How many requests wait, how long and why; `None` if none does.
    pub(super) fn shown(&self) -> Option<String> {
        let all = self.all();
        let (until, why) = all.values().min()?;
        let left = readable(until.saturating_duration_since(Instant::now()));
        Some(match all.len() {
            1 => format!("1 request waits {left} ({why})"),
            count => format!("{count} requests wait, the first {left} ({why})"),
        })
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, (Instant, String)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.all().remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_shown_and_ends_at_once_when_the_run_stops() {
        let waits = Waits::new();
        assert_eq!(waits.shown(), None);
        let day = Duration::from_secs(86_400);
        let clock = Instant::now();
        let (ended, (), ()) = tokio::join!(
            waits.sleep(day, "the server answered 429:\nslow\u{1b} down"),
            async {
                let _ = waits.sleep(2 * day, "later").await;
            },
            async {
                tokio::time::sleep(Duration::from_secs(60)).await;
                let expected =
                    "2 requests wait, the first 23h 59m (the server answered 429: slow down)";
                assert_eq!(waits.shown().as_deref(), Some(expected));
                waits.stop();
            },
        );
        assert_eq!((ended, clock.elapsed().as_secs()), (Err(Stopped), 60));
        assert_eq!(waits.shown(), None);
        assert_eq!(waits.sleep(day, "").await, Err(Stopped), "later waits, too");
        assert_eq!(waits.unless_stopped(async { 1 }).await, Ok(1), "what is there is taken");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_by_itself() {
        let waits = Waits::new();
        assert_eq!(waits.sleep(Duration::from_secs(5), "").await, Ok(()));
        assert_eq!(waits.shown(), None);
    }
}
