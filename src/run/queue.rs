//! Works off a queue of attempts, some at a time, and records each.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fixfly_runtime::{
    Attempt, Benchmark, End, Episode, Host, Policy, RunDirectory, RunError, Task, Templates, Tool,
    attempt,
};
use tokio::task::JoinSet;

use super::interrupts::Interrupts;
use super::progress::Progress;
use super::{episode_seed, machine};

/// How often an attempt that fails for reasons outside the policy is made.
const TRIES: u32 = 3;
/// So many failures outside the policy, with nothing finished between them,
/// mean that the machine or the model's server is down: the run stops.
pub(super) const MAX_CONSECUTIVE_FAILURES: usize = 20;

/// What all attempts of a run share.
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
    /// How often it was made in vain.
    pub(super) tries: u32,
}

/// Attempts to make.
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Work>,
    /// How many at a time.
    pub(super) jobs: usize,
}

/// How working it off ended.
#[derive(Debug, Default)]
pub(super) struct RunOutcome {
    /// Whether somebody asked to stop.
    pub(super) stopped: bool,
    /// Why the policy can do no more.
    pub(super) halted: Option<String>,
    /// Attempts failed for reasons outside the policy since one did not.
    in_a_row: usize,
    /// Why the run gave up: the last of [`MAX_CONSECUTIVE_FAILURES`] failures in a row.
    pub(super) gave_up: Option<String>,
    /// Attempts that were not made or not finished.
    pub(super) left: usize,
    /// Why attempts failed for reasons outside the policy, to the last try.
    pub(super) failed: Vec<String>,
    /// What faults of our own attempts met.
    pub(super) broken: Vec<String>,
}

impl RunOutcome {
    /// Whether no more attempts are begun.
    fn over(&self) -> bool {
        self.stopped || self.gave_up.is_some() || self.halted.is_some()
    }
}

impl Queue {
    /// Makes the attempts. The first interrupt lets those under way finish,
    /// the second ends them.
    ///
    /// # Errors
    /// [`RunError`] where an episode could not be recorded.
    pub(super) async fn work_off(
        mut self,
        crew: RunContext,
        interrupts: &mut Interrupts,
        directory: &mut RunDirectory,
        progress: &mut Progress,
    ) -> Result<RunOutcome, RunError> {
        let crew = Arc::new(crew);
        let mut running = JoinSet::new();
        let mut ended = RunOutcome::default();
        let mut clock = tokio::time::interval(Duration::from_millis(500));
        loop {
            while !ended.over()
                && running.len() < self.jobs
                && let Some(work) = self.waiting.pop_front()
            {
                running.spawn(crew.clone().make(work));
            }
            if running.is_empty() {
                break;
            }
            tokio::select! {
                Some(made) = running.join_next() => match made {
                    Ok((work, episode)) => {
                        if self.again(&work, &episode, &mut ended, &*crew.policy) {
                            continue;
                        }
                        directory.append(&episode)?;
                        progress.count(&episode);
                        let why = failure(&episode);
                        ended.failed.extend(why.map(|why| format!("{}: {why}", work.task.id)));
                    }
                    Err(fault) => ended.broken.push(fault.to_string()),
                },
                () = interrupts.next() => match ended.stopped {
                    false => {
                        ended.stopped = true;
                        progress.say(&finishing(running.len()));
                    }
                    true => {
                        ended.left += running.len();
                        running.shutdown().await;
                    }
                },
                _ = clock.tick() => progress.tick(),
            }
        }
        ended.left += self.waiting.len();
        Ok(ended)
    }

    /// Whether the attempt is to be made again rather than recorded, as the
    /// world broke; then it is left, or last in the queue: it may be better by
    /// then.
    fn again(
        &mut self,
        work: &Work,
        episode: &Episode,
        ended: &mut RunOutcome,
        policy: &dyn Policy,
    ) -> bool {
        let Some(why) = failure(episode) else {
            ended.in_a_row = 0;
            return false;
        };
        ended.halted = ended.halted.take().or_else(|| policy.halted());
        if ended.halted.is_some() {
            ended.left += 1;
            return true;
        }
        // Tries of one task again come in a row whatever the reason.
        ended.in_a_row += usize::from(work.tries == 0);
        if ended.in_a_row >= MAX_CONSECUTIVE_FAILURES {
            ended.gave_up = Some(why.to_string());
        }
        let again = work.tries + 1 < TRIES && !ended.stopped;
        if again {
            tracing::info!("{}: {why}; it is tried again", work.task.id);
            self.waiting.push_back(Work { tries: work.tries + 1, ..work.clone() });
        }
        again
    }
}

impl RunContext {
    async fn make(self: Arc<Self>, work: Work) -> (Work, Episode) {
        let with = Attempt {
            policy: (&self.policy_name, &*self.policy),
            tools: &self.tools,
            host: &*self.host,
            benchmark: &*self.benchmark,
            templates: &self.templates,
        };
        let seed = episode_seed(self.seed, &work.task.id, work.sample);
        let episode = attempt(&with, &work.task, work.sample, seed, machine::now()).await;
        (work, episode)
    }
}

/// Why the world, not the policy, ended it.
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
