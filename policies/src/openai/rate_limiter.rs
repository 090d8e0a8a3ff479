//! Limits requests to a server: its own rate limits, and as many parallel
//! requests as it keeps up with.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fixfly_runtime::{Resource, WaitCount};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::profile::Limits;

/// Parallel requests at first.
const INITIAL_CONCURRENCY: f64 = 8.0;
/// Maximum number of parallel requests if the profile has none.
const DEFAULT_CONCURRENCY: u32 = 256;
/// A rejection within this time of the last one changes nothing: its request was
/// already on the way.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// Limits requests. The number of parallel requests grows by one for each round
/// that succeeds, and halves when the server answers 429.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    state: Mutex<State>,
    changed: Notify,
    max_concurrency: f64,
    per_request: Option<Duration>,
    per_token: Option<Duration>,
    waiting_for_requests: WaitCount,
    waiting_for_tokens: WaitCount,
}

#[derive(Debug)]
struct State {
    concurrency: f64,
    running: usize,
    slowed: Option<Instant>,
    /// When the next request and the next token may be sent.
    next_request: Instant,
    next_token: Instant,
}

/// Permission to have one request in flight; dropping it returns it.
#[derive(Debug)]
pub(crate) struct Permit<'a>(&'a RateLimiter);

impl RateLimiter {
    /// Limits the requests of one of so many shards, which have equal parts of the limits.
    pub(crate) fn new(limits: Limits, shards: u32) -> RateLimiter {
        let shards = shards.max(1);
        let minute = Duration::from_secs(60) * shards;
        // A shard without any request would never end.
        let limited = limits.concurrency.map(|limit| (limit / shards).max(1));
        let max_concurrency = f64::from(limited.unwrap_or(DEFAULT_CONCURRENCY));
        let now = Instant::now();
        RateLimiter {
            state: Mutex::new(State {
                concurrency: INITIAL_CONCURRENCY.min(max_concurrency),
                running: 0,
                slowed: None,
                next_request: now,
                next_token: now,
            }),
            changed: Notify::new(),
            max_concurrency,
            per_request: limits.requests_per_minute.map(|limit| minute / limit.max(1)),
            per_token: limits.tokens_per_minute.map(|limit| minute / limit.max(1)),
            waiting_for_requests: WaitCount::default(),
            waiting_for_tokens: WaitCount::default(),
        }
    }

    /// Limits requests and tokens per minute, but no parallel requests: for several servers
    /// together, each of which has a limiter of its own.
    pub(crate) fn per_minute(limits: Limits, shards: u32) -> RateLimiter {
        let mut limiter = RateLimiter::new(limits, shards);
        limiter.max_concurrency = f64::INFINITY;
        limiter.with(|state| state.concurrency = f64::INFINITY);
        limiter
    }

    /// How many parallel requests the server takes.
    pub(crate) fn concurrency(&self) -> f64 {
        self.with(|state| state.concurrency)
    }

    /// Waits until another request of this many tokens may be sent.
    pub(crate) async fn acquire(&self, tokens: u64) -> Permit<'_> {
        let mut waiting = None;
        loop {
            let changed = self.changed.notified();
            if self.with(|state| {
                let free = state.running < state.concurrency as usize;
                state.running += usize::from(free);
                free
            }) {
                break;
            }
            waiting.get_or_insert_with(|| self.waiting_for_requests.enter());
            changed.await;
        }
        drop(waiting);
        let permit = Permit(self);
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let (at, count) = self.with(|state| {
            let count = match state.next_token > state.next_request {
                true => &self.waiting_for_tokens,
                false => &self.waiting_for_requests,
            };
            let at = Instant::now().max(state.next_request).max(state.next_token);
            state.next_request = at + self.per_request.unwrap_or_default();
            state.next_token = at + self.per_token.unwrap_or_default() * tokens;
            (at, count)
        });
        if at > Instant::now() {
            let _waiting = count.enter();
            tokio::time::sleep_until(at).await;
        }
        permit
    }

    /// How many wait for which limit.
    pub(crate) fn waiting(&self) -> [(Resource, usize); 2] {
        [
            (Resource::Requests, self.waiting_for_requests.get()),
            (Resource::Tokens, self.waiting_for_tokens.get()),
        ]
    }

    /// Call this when a request succeeded.
    pub(crate) fn on_success(&self) {
        self.with(|state| {
            state.concurrency =
                (state.concurrency + 1.0 / state.concurrency).min(self.max_concurrency);
        });
        self.changed.notify_one();
    }

    /// Call this when the server answered 429.
    pub(crate) fn on_rate_limited(&self) {
        self.with(|state| {
            let now = Instant::now();
            if state.slowed.is_none_or(|at| now - at > SETTLE_TIME) {
                state.slowed = Some(now);
                state.concurrency = (state.concurrency / 2.0).max(1.0);
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

/// The wait before the `n`th retry, from 0: it doubles each time, up to a minute.
/// A random part, up to half, is taken off, so that calls that failed together are
/// not repeated together.
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
        let limiter = RateLimiter::new(limits, 1);
        let clock = Instant::now();
        for _ in 0..4 {
            drop(limiter.acquire(1_000_000).await);
        }
        assert_eq!(clock.elapsed().as_secs(), 3);
        let limits = Limits { tokens_per_minute: Some(6_000), ..Limits::default() };
        let limiter = RateLimiter::new(limits, 1);
        let clock = Instant::now();
        for _ in 0..3 {
            drop(limiter.acquire(500).await);
        }
        assert_eq!(clock.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_has_its_part_of_the_limits() {
        let limits = Limits {
            requests_per_minute: Some(60),
            tokens_per_minute: Some(6_000),
            concurrency: Some(10),
        };
        let limiter = RateLimiter::new(limits, 4);
        let clock = Instant::now();
        for tokens in [1, 1, 500, 1] {
            drop(limiter.acquire(tokens).await);
        }
        assert_eq!(clock.elapsed().as_secs(), 4 + 4 + 20);
        assert_eq!(limiter.max_concurrency, 2.0);
        assert_eq!(RateLimiter::new(limits, 99).max_concurrency, 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn several_servers_share_what_is_limited_per_minute() {
        let limits = Limits { requests_per_minute: Some(60), ..Limits::default() };
        let limiter = RateLimiter::per_minute(limits, 1);
        let clock = Instant::now();
        let permits = acquired(&limiter, 20).await;
        assert_eq!((permits.len(), clock.elapsed().as_secs()), (20, 19));
    }

    async fn acquired(limiter: &RateLimiter, count: usize) -> Vec<Permit<'_>> {
        let mut permits = Vec::new();
        for _ in 0..count {
            permits.push(limiter.acquire(0).await);
        }
        permits
    }

    #[tokio::test(start_paused = true)]
    async fn parallel_requests_grow_and_halve() {
        let limiter = RateLimiter::new(Limits::default(), 1);
        let concurrency = || limiter.concurrency() as usize;
        assert_eq!(concurrency(), 8);
        (0..9).for_each(|_| limiter.on_success());
        assert_eq!(concurrency(), 9);
        (0..9).for_each(|_| limiter.on_rate_limited());
        assert_eq!(concurrency(), 4, "what fails together counts once");
        let permits = [
            limiter.acquire(0).await,
            limiter.acquire(0).await,
            limiter.acquire(0).await,
            limiter.acquire(0).await,
        ];
        let second = Duration::from_secs(1);
        let (fifth, waiting) =
            tokio::join!(tokio::time::timeout(second, limiter.acquire(0)), async {
                limiter.waiting()
            });
        assert!(fifth.is_err(), "four at a time");
        assert_eq!(waiting, [(Resource::Requests, 1), (Resource::Tokens, 0)]);
        drop(permits);
        limiter.acquire(0).await;
        assert_eq!(limiter.waiting()[0], (Resource::Requests, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_for_the_limit_that_ends_last() {
        async fn check(limits: Limits, expected: [usize; 2]) {
            let limiter = RateLimiter::new(limits, 1);
            let waiting = || limiter.waiting().map(|(_, count)| count);
            drop(limiter.acquire(500).await);
            let (_permit, counted) = tokio::join!(limiter.acquire(500), async { waiting() });
            assert_eq!((counted, waiting()), (expected, [0, 0]), "{limits:?}");
        }
        let (requests_per_minute, tokens_per_minute) = (Some(60), Some(6_000));
        check(Limits { requests_per_minute, ..Limits::default() }, [1, 0]).await;
        check(Limits { tokens_per_minute, ..Limits::default() }, [0, 1]).await;
        // 500 tokens take five seconds, a request takes one.
        check(Limits { requests_per_minute, tokens_per_minute, ..Limits::default() }, [0, 1]).await;
        check(Limits::default(), [0, 0]).await;
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
