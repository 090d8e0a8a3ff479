//! How fast a server is asked: within its limits, and as many requests at a
//! time as it keeps up with.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::profile::Limits;

/// Requests at a time, at first.
const BEGIN: f64 = 8.0;
/// Requests at a time, where a profile says nothing.
const MOST: u32 = 256;
/// Requests that were under way when one was turned away say nothing new.
const SETTLE: Duration = Duration::from_secs(1);

/// Keeps the pace. The number of requests at a time grows by one for each
/// round that went well, and halves when the server says it is too many.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    state: Mutex<State>,
    changed: Notify,
    most: f64,
    a_request: Option<Duration>,
    a_token: Option<Duration>,
}

#[derive(Debug)]
struct State {
    at_a_time: f64,
    running: usize,
    slowed: Option<Instant>,
    /// When the next request, and the next token, may be sent.
    next_request: Instant,
    next_token: Instant,
}

/// Leave to have one request under way.
#[derive(Debug)]
pub(crate) struct Permit<'a>(&'a RateLimiter);

impl RateLimiter {
    pub(crate) fn new(limits: Limits) -> RateLimiter {
        let minute = Duration::from_secs(60);
        let most = f64::from(limits.concurrency.unwrap_or(MOST).max(1));
        let now = Instant::now();
        RateLimiter {
            state: Mutex::new(State {
                at_a_time: BEGIN.min(most),
                running: 0,
                slowed: None,
                next_request: now,
                next_token: now,
            }),
            changed: Notify::new(),
            most,
            a_request: limits.requests_per_minute.map(|limit| minute / limit.max(1)),
            a_token: limits.tokens_per_minute.map(|limit| minute / limit.max(1)),
        }
    }

    /// Waits until one more request, of so many tokens, may be sent.
    pub(crate) async fn leave(&self, tokens: u64) -> Permit<'_> {
        loop {
            let changed = self.changed.notified();
            if self.with(|state| {
                let free = state.running < state.at_a_time as usize;
                state.running += usize::from(free);
                free
            }) {
                break;
            }
            changed.await;
        }
        let leave = Permit(self);
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let at = self.with(|state| {
            let at = Instant::now().max(state.next_request).max(state.next_token);
            state.next_request = at + self.a_request.unwrap_or_default();
            state.next_token = at + self.a_token.unwrap_or_default() * tokens;
            at
        });
        tokio::time::sleep_until(at).await;
        leave
    }

    /// A request went well.
    pub(crate) fn on_success(&self) {
        self.with(|state| {
            state.at_a_time = (state.at_a_time + 1.0 / state.at_a_time).min(self.most);
        });
        self.changed.notify_one();
    }

    /// The server said that it was asked too much.
    pub(crate) fn too_fast(&self) {
        self.with(|state| {
            let now = Instant::now();
            if state.slowed.is_none_or(|at| now - at > SETTLE) {
                state.slowed = Some(now);
                state.at_a_time = (state.at_a_time / 2.0).max(1.0);
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.running -= 1);
        self.0.changed.notify_one();
    }
}

/// How long to wait before a call is made for the `n`th time again: twice as
/// long each time, up to a minute; less a part that differs from call to call,
/// so that calls which failed together do not come again together.
pub(crate) fn backoff(first: f64, n: u32, seed: u64) -> Duration {
    let whole = (first * 2f64.powi(n as i32)).min(60.0);
    let mixed = (seed ^ u64::from(n)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    Duration::from_secs_f64(whole * (0.5 + 0.5 * mixed as f64 / (1u64 << 24) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn limits_a_minute_space_the_requests_out() {
        let limits = Limits { requests_per_minute: Some(60), ..Limits::default() };
        let pace = RateLimiter::new(limits);
        let clock = Instant::now();
        for _ in 0..4 {
            drop(pace.leave(1_000_000).await);
        }
        assert_eq!(clock.elapsed().as_secs(), 3);
        let limits = Limits { tokens_per_minute: Some(6_000), ..Limits::default() };
        let pace = RateLimiter::new(limits);
        let clock = Instant::now();
        for _ in 0..3 {
            drop(pace.leave(500).await);
        }
        assert_eq!(clock.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_at_a_time_grow_and_halve() {
        let pace = RateLimiter::new(Limits::default());
        let at_a_time = || pace.with(|state| state.at_a_time as usize);
        assert_eq!(at_a_time(), 8);
        (0..9).for_each(|_| pace.on_success());
        assert_eq!(at_a_time(), 9);
        (0..9).for_each(|_| pace.too_fast());
        assert_eq!(at_a_time(), 4, "what fails together counts once");
        let leaves =
            [pace.leave(0).await, pace.leave(0).await, pace.leave(0).await, pace.leave(0).await];
        let fifth = tokio::time::timeout(Duration::from_secs(9), pace.leave(0)).await;
        assert!(fifth.is_err(), "four at a time");
        drop(leaves);
        pace.leave(0).await;
    }

    #[test]
    fn the_wait_doubles_and_is_never_the_same_for_two() {
        for n in 0..9 {
            let whole = 2f64.powi(n as i32).min(60.0);
            let wait = backoff(1.0, n, 7).as_secs_f64();
            assert!((whole / 2.0..=whole).contains(&wait), "{wait} of {whole}");
            assert_ne!(wait, backoff(1.0, n, 8).as_secs_f64());
        }
    }
}
