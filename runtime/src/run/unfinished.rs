//! Why a run is not complete.

use std::path::Path;

use super::queue::{MAX_CONSECUTIVE_FAILURES, RunOutcome};
use super::usable::Unusable;

/// Why episodes of a run are missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    /// The policy cannot continue.
    #[error("stopped with {left} episodes left: {why}; run the same command again to resume {run}")]
    Halted {
        /// Episodes that are left.
        left: usize,
        /// Why.
        why: String,
        /// The run directory.
        run: String,
    },
    /// The first episodes hold no usable answer.
    #[error("{}", unusable_run(*left, unusable, run))]
    Unusable {
        /// Episodes that are left.
        left: usize,
        /// Why, and an example.
        unusable: Unusable,
        /// The run directory.
        run: String,
    },
    /// Too many attempts in a row failed for reasons outside the policy.
    #[error(
        "stopped with {left} episodes left: {} attempts in a row failed for reasons outside the \
         policy ({why}); fix the cause, then run the same command again to resume {run}",
        MAX_CONSECUTIVE_FAILURES
    )]
    GaveUp {
        /// Episodes that are left.
        left: usize,
        /// Why the last one failed.
        why: String,
        /// The run directory.
        run: String,
    },
    /// The user asked to stop.
    #[error("stopped with {left} episodes left; run the same command again to resume {run}")]
    Stopped {
        /// Episodes that are left.
        left: usize,
        /// The run directory.
        run: String,
    },
    /// Attempts panicked.
    #[error("{count} episodes hit a bug in fixfly and were not recorded ({why}); please report it")]
    Bugs {
        /// The number of them.
        count: usize,
        /// The first panic.
        why: String,
    },
    /// Attempts failed for reasons outside the policy, after all retries.
    #[error(
        "{count} episodes failed for reasons outside the policy, three times each ({why}); run \
         the same command again to retry them"
    )]
    Failed {
        /// The number of them.
        count: usize,
        /// Why the first one failed.
        why: String,
    },
}

fn unusable_run(left: usize, unusable: &Unusable, run: &str) -> String {
    match left {
        0 => format!("{unusable}; pass --keep-going to accept {run} as it is"),
        left => format!(
            "stopped with {left} episodes left: {unusable}; run the same command again to \
             continue {run}, or pass --keep-going to run on regardless"
        ),
    }
}

impl RunOutcome {
    /// Whether the run in this directory is complete.
    ///
    /// # Errors
    /// [`Unfinished`] if episodes are missing.
    pub fn conclude(self, run: &Path) -> Result<(), Unfinished> {
        let RunOutcome { stopped, halted, gave_up, unusable, left, failed, broken, .. } = self;
        let run = run.display().to_string();
        if let Some(why) = halted {
            return Err(Unfinished::Halted { left, why, run });
        }
        if let Some(why) = gave_up {
            return Err(Unfinished::GaveUp { left, why, run });
        }
        if let Some(unusable) = unusable {
            return Err(Unfinished::Unusable { left, unusable, run });
        }
        if stopped {
            return Err(Unfinished::Stopped { left, run });
        }
        if let Some(why) = broken.first() {
            return Err(Unfinished::Bugs { count: broken.len(), why: why.clone() });
        }
        match failed.first() {
            Some(why) => Err(Unfinished::Failed { count: failed.len(), why: why.clone() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(outcome: RunOutcome, expected: &str) {
        assert_eq!(outcome.conclude(Path::new("runs/a")).unwrap_err().to_string(), expected);
    }

    #[test]
    fn the_first_reason_that_applies_is_returned() {
        assert_eq!(RunOutcome::default().conclude(Path::new("runs/a")), Ok(()));
        let failed = || RunOutcome {
            failed: vec!["a: no disk".into(), "b: no disk".into()],
            ..RunOutcome::default()
        };
        check(
            failed(),
            "2 episodes failed for reasons outside the policy, three times each (a: no disk); run \
             the same command again to retry them",
        );
        let stopped = || RunOutcome { stopped: true, left: 3, ..failed() };
        check(
            stopped(),
            "stopped with 3 episodes left; run the same command again to resume runs/a",
        );
        check(
            RunOutcome { gave_up: Some("no disk".into()), ..stopped() },
            "stopped with 3 episodes left: 20 attempts in a row failed for reasons outside the \
             policy (no disk); fix the cause, then run the same command again to resume runs/a",
        );
    }
}
