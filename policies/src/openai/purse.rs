//! What a run may spend: money is put aside before a call and settled after.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// A run's money, in US dollars.
#[derive(Debug)]
pub(crate) struct SpendLimit {
    budget: Option<f64>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    spent: f64,
    held: f64,
    calls: usize,
}

/// No money is left for a call.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error(
    "the run's budget of ${budget} does not cover the next call, which may cost ${next:.4}: ${spent:.4} are spent, in {calls} calls; continue with a larger --budget"
)]
pub(crate) struct Empty {
    budget: f64,
    next: f64,
    spent: f64,
    calls: usize,
}

/// Money put aside. What is dropped without being settled stays put aside: the
/// call may have been made.
#[derive(Debug)]
pub(crate) struct Held(f64);

impl SpendLimit {
    pub(crate) fn new(budget: Option<f64>, spent: f64, calls: usize) -> SpendLimit {
        let state = Mutex::new(State { spent, held: 0.0, calls });
        SpendLimit { budget, state, changed: Notify::new() }
    }

    /// Puts money aside. Where other calls hold too much of it, waits until
    /// they are settled: they nearly always cost less.
    pub(crate) async fn hold(&self, usd: f64) -> Result<Held, Empty> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                match self.budget {
                    Some(budget) if state.spent + usd > budget => {
                        let State { spent, calls, .. } = *state;
                        return Err(Empty { budget, next: usd, spent, calls });
                    }
                    Some(budget) if state.spent + state.held + usd > budget => {}
                    _ => {
                        state.held += usd;
                        return Ok(Held(usd));
                    }
                }
            }
            changed.await;
        }
    }

    /// Takes what a call cost from what was put aside for it.
    pub(crate) fn settle(&self, held: Held, usd: f64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.held -= held.0;
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
        let purse = SpendLimit::new(Some(1.0), 0.25, 3);
        let first = purse.hold(0.5).await.unwrap();
        let second = tokio::time::timeout(Duration::from_secs(1), purse.hold(0.5)).await;
        assert!(second.is_err(), "it waits for the first");
        purse.settle(first, 0.125);
        let second = purse.hold(0.5).await.unwrap();
        purse.settle(second, 0.5);
        let error = purse.hold(0.5).await.unwrap_err();
        assert_eq!(error, Empty { budget: 1.0, next: 0.5, spent: 0.875, calls: 5 });
        assert!(error.to_string().contains("$0.8750 are spent, in 5 calls"), "{error}");
    }

    #[tokio::test]
    async fn without_a_budget_there_is_no_end() {
        let purse = SpendLimit::new(None, 0.0, 0);
        let all = [purse.hold(1e9).await.unwrap(), purse.hold(1e9).await.unwrap()];
        assert_eq!(all.len(), 2);
    }
}
