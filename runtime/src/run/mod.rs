//! A run: a policy attempts the tasks of a benchmark, and every episode is recorded.

mod estimate;
mod glob;
mod instances;
mod interrupts;
mod machine;
mod observer;
mod queue;
mod select;
mod spec;
mod tally;
mod unfinished;
mod usable;
mod verify;

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use estimate::{Cost, Estimate, Price};
pub use instances::{GradingRules, InstanceSpec};
pub use interrupts::Interrupts;
pub use machine::{cpus, now};
pub use observer::{Observer, Silent};
pub(crate) use queue::MAX_TRIES;
pub use queue::{MAX_CONSECUTIVE_FAILURES, RunOutcome};
pub use select::{SelectError, Selection, first, split_supported, unsupported_reasons};
pub use spec::{IssueSpec, RunSpec};
pub use tally::{RunTally, episode_line, wilson};
pub use unfinished::Unfinished;
use usable::FirstEpisodes;
pub use usable::Unusable;
pub use verify::{Control, ControlResult, ControlSummary, Verification, Verifier};

use crate::benchmark::Benchmark;
use crate::policy::Policy;
use crate::run_directory::{RunDirectory, RunError, RunRecord, SCHEMA, TaskCounts, Wording};
use crate::sandbox::{Host, Protection};
use crate::summary::EpisodeSummary;
use crate::task::Task;
use crate::templates::Templates;
use crate::tool::Tool;
use queue::{Queue, RunContext, Work};

/// A run that is ready to start with [`Run::execute`].
pub struct Run {
    /// What to run.
    pub spec: RunSpec,
    /// The tasks that [`RunSpec::select`] returned.
    pub selection: Selection,
    /// The benchmark, which judges.
    pub benchmark: Arc<dyn Benchmark>,
    /// The policy, which decides.
    pub policy: Box<dyn Policy>,
    /// All tools; a task names those it allows.
    pub tools: Vec<Box<dyn Tool>>,
    /// Opens sandboxes. A pool needs room for [`RunSpec::jobs`] times
    /// [`Selection::sandboxes_per_attempt`] of them.
    pub host: Arc<dyn Host>,
    /// The wording of the conversation.
    pub templates: Templates,
}

/// Why a run did not start, or could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The sandbox lacks a required protection on this machine.
    #[error(
        "the sandbox `{sandbox}` lacks a protection on this machine: {name} ({impact}); remedy: \
         {remedy}; pass --allow-weak to run without it, see `fixfly sandbox doctor`"
    )]
    Unprotected {
        /// Name of the sandbox.
        sandbox: String,
        /// The protection.
        name: &'static str,
        /// What a candidate can do without it.
        impact: &'static str,
        /// How to get the protection.
        remedy: String,
    },
    /// The run directory cannot be used.
    #[error(transparent)]
    Directory(#[from] RunError),
}

impl Run {
    /// Makes the attempts that the run directory does not contain yet and records each.
    /// After the first interrupt, running episodes finish; the second aborts them. The same
    /// run resumes the rest later.
    ///
    /// # Errors
    /// [`ExecuteError`] if the run cannot start or an episode cannot be recorded. Failed
    /// episodes are in [`RunOutcome`].
    pub async fn execute(
        self,
        observer: &mut dyn Observer,
        interrupts: &mut Interrupts,
    ) -> Result<RunOutcome, ExecuteError> {
        if !self.spec.allow_weak {
            require_protections(&self.spec.sandbox, &self.host.protections().await)?;
        }
        let record = self.spec.record(&self.selection, &self.templates, &*self.host);
        let (mut directory, recorded) = RunDirectory::open(&self.spec.output, &record)?;
        if self.spec.compress {
            directory.compress();
        }
        let Run { spec, selection, benchmark, policy, tools, host, templates } = self;
        let total = selection.tasks.len() * spec.samples as usize;
        let first = match spec.keep_going || spec.replay.is_some() {
            true => None,
            false => Some(FirstEpisodes::of(recorded.summaries(), |at| recorded.episode(at))?),
        };
        let mut finished = recorded.into_summaries();
        finished.retain(|episode| !episode.infrastructure_failure());
        let is_enough = spec.until_solved && finished.iter().any(EpisodeSummary::solved);
        let waiting = match is_enough {
            true => Vec::new(),
            false => work(selection.tasks, spec.samples, &finished),
        };
        observer.started(total, &finished);
        drop(finished);
        let (jobs, until_solved) = (spec.jobs(), spec.until_solved);
        let queue = Queue { waiting: waiting.into(), jobs, first, until_solved };
        let context = RunContext {
            policy_name: spec.policy,
            policy,
            tools,
            host,
            benchmark,
            templates,
            seed: spec.seed,
        };
        let outcome = queue.work_off(context, interrupts, &mut directory, observer).await;
        observer.ended();
        let outcome = outcome?;
        if outcome.left == 0 {
            directory.compress_rest()?;
        }
        Ok(outcome)
    }
}

impl RunSpec {
    /// The contents of `run.json` for these tasks, prompts and sandboxes.
    pub fn record(
        &self,
        selection: &Selection,
        templates: &Templates,
        host: &dyn Host,
    ) -> RunRecord {
        let Selection { tasks, selected, turns, .. } = selection;
        RunRecord {
            schema: SCHEMA,
            fixfly: env!("CARGO_PKG_VERSION").into(),
            started: now(),
            config: self.config(*turns),
            seed: self.seed,
            benchmark: selection.facts.clone(),
            templates: Wording { hash: templates.hash.clone(), texts: templates.texts() },
            isolation: host.isolation(),
            machine: machine::facts(),
            tasks: Some(TaskCounts { selected: *selected, shard: self.shard.map(|_| tasks.len()) }),
            merged: Vec::new(),
        }
    }
}

/// Refuses a sandbox that lacks a required protection.
///
/// # Errors
/// [`ExecuteError::Unprotected`] with the first that is missing.
pub fn require_protections(sandbox: &str, all: &[Protection]) -> Result<(), ExecuteError> {
    let Some(missing) = all.iter().find(|one| one.is_missing()) else { return Ok(()) };
    Err(ExecuteError::Unprotected {
        sandbox: sandbox.into(),
        name: missing.name,
        impact: missing.impact.as_str(),
        remedy: missing.remedy.clone(),
    })
}

/// All tasks of one sample before the next sample, so that an interrupted run covers every
/// task.
fn work(tasks: Vec<Task>, samples: u32, finished: &[EpisodeSummary]) -> Vec<Work> {
    let finished: HashSet<(&str, u32)> =
        finished.iter().map(|episode| (&*episode.task, episode.sample)).collect();
    let tasks: Vec<Arc<Task>> = tasks.into_iter().map(Arc::new).collect();
    (0..samples)
        .flat_map(|sample| tasks.iter().map(move |task| (task, sample)))
        .filter(|(task, sample)| !finished.contains(&(task.id.as_str(), *sample)))
        .map(|(task, sample)| Work { task: task.clone(), sample, retries: 0 })
        .collect()
}

/// The seed of an episode, derived from these three values only.
pub fn episode_seed(seed: u64, task: impl Display, sample: u32) -> u64 {
    let digest = Sha256::digest(format!("{seed}\0{task}\0{sample}"));
    digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::sandbox::Impact;

    #[test]
    fn seeds_are_distinct_and_stable() {
        assert_eq!(episode_seed(0, "a", 0), 10_754_738_582_441_486_377);
        let seeds = [
            episode_seed(0, "a", 0),
            episode_seed(1, "a", 0),
            episode_seed(0, "b", 0),
            episode_seed(0, "a", 1),
        ];
        assert_eq!(HashSet::from(seeds).len(), seeds.len());
    }

    #[test]
    fn a_sandbox_without_a_required_protection_is_refused() {
        let part = |by: Option<&str>, needed| Protection {
            name: "memory of the whole sandbox",
            by: by.map(str::to_owned),
            needed,
            remedy: "ask for it".to_owned(),
            impact: Impact::TakesAllMemory,
        };
        let enough = [part(Some("cgroup v2"), true), part(None, false)];
        assert!(require_protections("local", &enough).is_ok());
        let why = require_protections("local", &[part(None, true)]).unwrap_err().to_string();
        assert_eq!(
            why,
            "the sandbox `local` lacks a protection on this machine: memory of the whole sandbox \
             (the sandbox can use all memory); remedy: ask for it; pass --allow-weak to run without it, \
             see `fixfly sandbox doctor`"
        );
    }
}
