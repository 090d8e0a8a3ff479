//! What a run may spend. Money is reserved before a call and settled after it.

use std::sync::{Mutex, PoisonError};

use fixfly_runtime::{Shard, WaitCount};
use tokio::sync::Notify;

/// The budget of a run, in US dollars.
#[derive(Debug)]
pub(crate) struct SpendLimit {
    budget: Option<f64>,
    /// The shard whose part of the run's budget this is.
    shard: Option<Shard>,
    state: Mutex<State>,
    changed: Notify,
    waiting: WaitCount,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    spent: f64,
    reserved: f64,
    calls: usize,
}

/// The budget does not cover a call.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error(
    "{whose} budget of ${budget} does not cover the next call, which may cost ${next:.4}: ${spent:.4} are spent, in {calls} calls; continue with a larger --budget"
)]
pub(crate) struct Exhausted {
    whose: String,
    budget: f64,
    next: f64,
    spent: f64,
    calls: usize,
}

/// Reserved money. It stays reserved if this is dropped without being settled,
/// because the call may have been made.
#[derive(Debug)]
pub(crate) struct Reservation(f64);

impl SpendLimit {
    pub(crate) fn new(budget: Option<f64>, spent: f64, calls: usize) -> SpendLimit {
        let state = Mutex::new(State { spent, reserved: 0.0, calls });
        let (changed, waiting) = (Notify::new(), WaitCount::default());
        SpendLimit { budget, shard: None, state, changed, waiting }
    }

    /// The part of a shard: all shards have the same.
    pub(crate) fn of_shard(self, shard: Option<Shard>) -> SpendLimit {
        let shards = shard.map_or(1, Shard::of);
        SpendLimit { budget: self.budget.map(|usd| usd / f64::from(shards)), shard, ..self }
    }

    /// The number of calls that wait until others are settled.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// Reserves money. If other calls have reserved too much, waits until they are
    /// settled: they nearly always cost less.
    pub(crate) async fn reserve(&self, usd: f64) -> Result<Reservation, Exhausted> {
        let mut waiting = None;
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                match self.budget {
                    Some(budget) if state.spent + usd > budget => {
                        let State { spent, calls, .. } = *state;
                        let whose = match self.shard {
                            Some(shard) => format!("shard {shard}'s part of the"),
                            None => "the run's".into(),
                        };
                        return Err(Exhausted { whose, budget, next: usd, spent, calls });
                    }
                    Some(budget) if state.spent + state.reserved + usd > budget => {}
                    _ => {
                        state.reserved += usd;
                        return Ok(Reservation(usd));
                    }
                }
            }
            waiting.get_or_insert_with(|| self.waiting.enter());
            changed.await;
        }
    }

    /// Replaces a reservation by what the call really cost.
    pub(crate) fn settle(&self, reservation: Reservation, usd: f64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.reserved -= reservation.0;
        state.spent += usd;
        state.calls += 1;
        drop(state);
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_budget_is_never_overspent() {
        let limit = SpendLimit::new(Some(1.0), 0.25, 3);
        let first = limit.reserve(0.5).await.unwrap();
        let second = Duration::from_secs(1);
        let second = tokio::time::timeout(second, limit.reserve(0.5));
        let (second, waiting) = tokio::join!(second, async { limit.waiting() });
        assert!(second.is_err(), "it waits for the first");
        assert_eq!((waiting, limit.waiting()), (1, 0));
        limit.settle(first, 0.125);
        let second = limit.reserve(0.5).await.unwrap();
        limit.settle(second, 0.5);
        let error = limit.reserve(0.5).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the run's budget of $1 does not cover the next call, which may cost $0.5000: $0.8750 \
             are spent, in 5 calls; continue with a larger --budget"
        );
    }

    #[tokio::test]
    async fn a_shard_has_its_part_of_the_budget() {
        let shard = "2/4".parse().ok();
        let limit = SpendLimit::new(Some(1.0), 0.0, 0).of_shard(shard);
        limit.settle(limit.reserve(0.25).await.unwrap(), 0.25);
        let error = limit.reserve(0.01).await.unwrap_err().to_string();
        assert!(error.starts_with("shard 2/4's part of the budget of $0.25 does not"), "{error}");
        let limit = SpendLimit::new(None, 0.0, 0).of_shard(shard);
        assert!(limit.reserve(1e9).await.is_ok(), "no budget has no parts");
    }

    #[tokio::test]
    async fn without_a_budget_there_is_no_end() {
        let limit = SpendLimit::new(None, 0.0, 0);
        let all = [limit.reserve(1e9).await.unwrap(), limit.reserve(1e9).await.unwrap()];
        assert_eq!(all.len(), 2);
    }
}
