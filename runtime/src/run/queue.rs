//! Makes the attempts of a queue in parallel and records each.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::interrupts::Interrupts;
use super::observer::Observer;
use super::usable::{FirstEpisodes, Unusable};
use super::{episode_seed, now};
use crate::admission::Limiting;
use crate::attempt::{Attempt, attempt};
use crate::benchmark::Benchmark;
use crate::episode::{End, Episode};
use crate::parallel::Parallel;
use crate::policy::Policy;
use crate::run_directory::{RunDirectory, RunError};
use crate::sandbox::Host;
use crate::task::Task;
use crate::templates::Templates;
use crate::tool::Tool;

/// How often an attempt is made if infrastructure failures end it.
pub(crate) const MAX_TRIES: u32 = 3;
/// After this many infrastructure failures in a row, the run assumes that the machine or
/// the model's server is down, and stops.
pub const MAX_CONSECUTIVE_FAILURES: usize = 20;

/// Values that all attempts of a run share.
pub(super) struct RunContext {
    pub(super) policy_name: String,
    pub(super) policy: Box<dyn Policy>,
    pub(super) tools: Vec<Box<dyn Tool>>,
    pub(super) host: Arc<dyn Host>,
    pub(super) benchmark: Arc<dyn Benchmark>,
    pub(super) templates: Templates,
    pub(super) seed: u64,
}

/// One attempt to make.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) task: Arc<Task>,
    pub(super) sample: u32,
    /// Retries so far.
    pub(super) retries: u32,
}

/// Attempts to make.
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Work>,
    /// The number of attempts in parallel.
    pub(super) jobs: usize,
    /// The rule about the first episodes; `None` if the run keeps going.
    pub(super) first: Option<FirstEpisodes>,
    /// Whether to stop after the first task that is solved.
    pub(super) until_solved: bool,
}

/// How the run ended.
#[derive(Debug, Default)]
pub struct RunOutcome {
    /// Whether the user asked to stop.
    pub stopped: bool,
    /// Episodes that this call recorded.
    pub recorded: usize,
    /// Recorded episodes that solved their task.
    pub solved: usize,
    /// Why the policy cannot continue.
    pub halted: Option<String>,
    /// Why the answers are of no use, if none is.
    pub unusable: Option<Unusable>,
    /// Attempts in a row that infrastructure failures ended.
    pub(super) in_a_row: usize,
    /// Whether the first task that is solved ends the run, and one is.
    pub(super) enough: bool,
    /// Why the run stopped: the last of [`MAX_CONSECUTIVE_FAILURES`] failures in a row.
    pub gave_up: Option<String>,
    /// Attempts that were not started or not finished.
    pub left: usize,
    /// The infrastructure failures that remained after all retries.
    pub failed: Vec<String>,
    /// Bugs in fixfly that attempts ran into.
    pub broken: Vec<String>,
}

impl RunOutcome {
    /// Whether no more attempts start.
    fn is_over(&self) -> bool {
        let failed = self.gave_up.is_some() || self.halted.is_some() || self.unusable.is_some();
        self.stopped || self.enough || failed
    }
}

impl Queue {
    /// Makes the attempts. After the first interrupt, running attempts finish; the second
    /// aborts them.
    ///
    /// # Errors
    /// [`RunError`] if an episode cannot be recorded.
    pub(super) async fn work_off(
        mut self,
        context: RunContext,
        interrupts: &mut Interrupts,
        directory: &mut RunDirectory,
        observer: &mut dyn Observer,
    ) -> Result<RunOutcome, RunError> {
        let context = Arc::new(context);
        let shared = context.clone();
        let make = move |work: Work| shared.clone().make(work);
        let mut attempts = Parallel::new(
            self.jobs,
            std::mem::take(&mut self.waiting).into_iter().map(make.clone()),
        );
        let mut ended = RunOutcome::default();
        let mut clock = tokio::time::interval(Duration::from_millis(500));
        loop {
            if ended.is_over() {
                attempts.stop();
                context.policy.stop();
            }
            tokio::select! {
                made = attempts.next() => match made {
                    None => break,
                    Some(Ok((work, episode))) => {
                        match ended.next(&work, &episode, &*context.policy) {
                            Next::Record => {
                                directory.append(&episode)?;
                                observer.recorded(&episode);
                                ended.count(&work, &episode);
                                ended.enough = self.until_solved && ended.solved > 0;
                                if let Some(first) = &mut self.first {
                                    first.count(&episode);
                                    ended.unusable = first.unusable();
                                }
                            }
                            Next::Retry => {
                                attempts.add(make(Work { retries: work.retries + 1, ..work }));
                            }
                            Next::Leave => {}
                        }
                    }
                    Some(Err(fault)) => ended.broken.push(fault.to_string()),
                },
                () = interrupts.next() => match ended.stopped {
                    false => {
                        ended.stopped = true;
                        observer.status(&finishing(attempts.running()));
                    }
                    true => ended.left += attempts.abort().await,
                },
                _ = clock.tick() => {
                    observer.waiting(context.waiting());
                    observer.tick();
                }
            }
        }
        ended.left += attempts.unstarted();
        if let Some(first) = self.first.filter(|_| !ended.is_over()) {
            ended.unusable = first.unusable_at_end();
        }
        Ok(ended)
    }
}

/// What to do with an attempt.
enum Next {
    Record,
    Retry,
    /// Leaves it for a later run.
    Leave,
}

impl RunOutcome {
    /// Counts a recorded episode.
    fn count(&mut self, work: &Work, episode: &Episode) {
        self.recorded += 1;
        self.solved += usize::from(episode.solved());
        let why = failure(episode);
        self.failed.extend(why.map(|why| format!("{}: {why}", work.task.id)));
    }

    /// Retries an attempt that an infrastructure failure ended, or leaves it for a later
    /// run.
    fn next(&mut self, work: &Work, episode: &Episode, policy: &dyn Policy) -> Next {
        let Some(why) = failure(episode) else {
            self.in_a_row = 0;
            return Next::Record;
        };
        self.halted = self.halted.take().or_else(|| policy.halted());
        // A wait that the user ended is no failure.
        if self.halted.is_some() || self.stopped || self.unusable.is_some() {
            self.left += 1;
            return Next::Leave;
        }
        // The retries of one task are not independent: they count as one failure.
        self.in_a_row += usize::from(work.retries == 0);
        if self.in_a_row >= MAX_CONSECUTIVE_FAILURES {
            self.gave_up = Some(why.to_string());
        }
        if work.retries + 1 < MAX_TRIES {
            tracing::info!("{}: {why}; retrying the episode", work.task.id);
            return Next::Retry;
        }
        Next::Record
    }
}

impl RunContext {
    /// What the run waits for: the policy's own words, or else the resource that most of its
    /// episodes wait for.
    fn waiting(&self) -> Option<String> {
        let admission = self.host.admission();
        if let Some(admission) = &admission {
            admission.refresh();
        }
        let own = admission.iter().flat_map(|admission| admission.waiting());
        let limiting = || Limiting::of(own.chain(self.policy.waiting_for()));
        self.policy.waiting().or_else(|| limiting().map(|limiting| limiting.to_string()))
    }

    async fn make(self: Arc<Self>, work: Work) -> (Work, Episode) {
        let with = Attempt {
            policy: (&self.policy_name, &*self.policy),
            tools: &self.tools,
            host: &*self.host,
            benchmark: &*self.benchmark,
            templates: &self.templates,
        };
        let seed = episode_seed(self.seed, &work.task.id, work.sample);
        let episode = attempt(&with, &work.task, work.sample, seed, now()).await;
        (work, episode)
    }
}

/// The infrastructure failure that ended the episode, if any.
fn failure(episode: &Episode) -> Option<&str> {
    match &episode.end {
        End::Failed { why, .. } if episode.infrastructure_failure() => Some(why),
        _ => None,
    }
}

fn finishing(running: usize) -> String {
    let episodes = if running == 1 { "episode" } else { "episodes" };
    format!("finishing {running} {episodes}; press Ctrl-C again to stop at once")
}

#[cfg(test)]
mod tests;
