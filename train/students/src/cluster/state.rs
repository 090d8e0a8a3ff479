//! The state of a part of a job.

use super::Plan;
use super::slurm::{Ended, QueuedJob, SlurmState};

/// Exit code of a command of fixfly that was asked to stop and can be continued.
pub(super) const INTERRUPTED: i32 = 130;
/// The reason of a job whose dependency failed.
const NEVER: &str = "DependencyNeverSatisfied";

/// A part of a job: the element of an array, or the whole job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1.
    pub number: u32,
    /// Its state.
    pub state: PartState,
    /// Slurm's id of its latest job: `12`, or `12_3`.
    pub id: Option<String>,
    /// Whether that job is still in the queue.
    pub queued: bool,
    /// How often it was submitted again because it was lost.
    pub lost: u32,
}

impl Part {
    /// A part that was not submitted.
    pub(super) fn new(number: u32) -> Part {
        Part { number, state: PartState::New, id: None, queued: false, lost: 0 }
    }
}

/// The state of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartState {
    /// Not submitted yet.
    New,
    /// In the queue; with Slurm's reason, which may be empty.
    Pending(String),
    /// Running, on these nodes.
    Running(String),
    /// Its command ended well.
    Done,
    /// Its command failed; with the reason.
    Failed(String),
    /// Somebody cancelled it.
    Cancelled,
    /// It ended, and its command has work left.
    Lost(Loss),
    /// Slurm has a word for its state that fixfly does not know.
    Unknown(String),
}

impl PartState {
    /// Whether it ended without being done, so that what comes after it cannot start.
    pub(super) fn has_stopped(&self) -> bool {
        matches!(self, PartState::Failed(_) | PartState::Cancelled | PartState::Lost(_))
    }
}

/// Why work is left though nothing of fixfly failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The node failed.
    Node,
    /// Another job needed the node.
    Preempted,
    /// The time limit.
    TimeLimit,
    /// A signal ended it.
    Killed(i32),
    /// It was asked to stop, and stopped.
    Interrupted,
    /// Slurm has no record of it any more, and it did not write how it ended.
    NoRecord,
    /// It waits for a job that cannot succeed any more.
    Blocked,
}

impl Loss {
    /// What happened, for a table.
    pub(super) fn shown(self) -> String {
        match self {
            Loss::Node => "the node failed".into(),
            Loss::Preempted => "preempted".into(),
            Loss::TimeLimit => "time limit".into(),
            Loss::Killed(signal) => format!("killed by signal {signal}"),
            Loss::Interrupted => "stopped".into(),
            Loss::NoRecord => "Slurm has no record of it".into(),
            Loss::Blocked => "a job before it ended".into(),
        }
    }
}

/// The parts of each job of a plan, in the plan's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The parts of each job.
    pub parts: Vec<Vec<Part>>,
}

impl Survey {
    /// Whether every part of a job is done.
    pub(super) fn is_job_done(&self, plan: &Plan, name: &str) -> bool {
        let at = plan.jobs.iter().position(|job| job.name == name);
        let parts = at.and_then(|at| self.parts.get(at));
        parts.is_some_and(|parts| parts.iter().all(|part| part.state == PartState::Done))
    }

    /// Whether a part is running, or is in the queue and can still start.
    pub fn is_active(&self, plan: &Plan) -> bool {
        let mut stuck: Vec<&str> = Vec::new();
        for (job, parts) in plan.jobs.iter().zip(&self.parts) {
            let waits_forever = job.after.iter().any(|name| stuck.contains(&&**name));
            let is_active = |part: &Part| match part.state {
                PartState::Running(_) | PartState::Unknown(_) => true,
                PartState::Pending(_) => !waits_forever,
                _ => false,
            };
            if parts.iter().any(is_active) {
                return true;
            }
            if waits_forever || parts.iter().any(|part| part.state.has_stopped()) {
                stuck.push(&job.name);
            }
        }
        false
    }

    /// The job of the first part that failed, was cancelled or is lost, and why.
    pub fn stopped(&self, plan: &Plan) -> Option<(String, String)> {
        let of_jobs = plan.jobs.iter().zip(&self.parts);
        of_jobs.into_iter().find_map(|(job, parts)| {
            let why = parts.iter().find_map(|part| match &part.state {
                PartState::Failed(why) => Some(why.clone()),
                PartState::Cancelled => Some("cancelled".into()),
                PartState::Lost(loss) => Some(loss.shown()),
                _ => None,
            })?;
            Some((job.name.clone(), why))
        })
    }
}

/// The state of a part that was submitted: from the exit code that its command wrote, and
/// from Slurm. `None`: there is none.
pub(super) fn state_of(exit: Option<i32>, job: Option<&QueuedJob>) -> PartState {
    if exit == Some(0) {
        return PartState::Done;
    }
    let ended = match job.map(|job| (&job.state, job.ended)) {
        Some((SlurmState::Pending, _)) => {
            let reason = job.map(|job| job.reason.clone()).unwrap_or_default();
            return match reason == NEVER {
                true => PartState::Lost(Loss::Blocked),
                false => PartState::Pending(reason),
            };
        }
        Some((SlurmState::Running, _)) => {
            return PartState::Running(job.map(|job| job.nodes.clone()).unwrap_or_default());
        }
        Some((SlurmState::Other(word), _)) => return PartState::Unknown(word.clone()),
        Some((SlurmState::NodeFail, _)) => return PartState::Lost(Loss::Node),
        Some((SlurmState::Preempted, _)) => return PartState::Lost(Loss::Preempted),
        Some((SlurmState::TimeLimit, _)) => return PartState::Lost(Loss::TimeLimit),
        Some((SlurmState::Cancelled, _)) => {
            return match job.is_some_and(|job| job.reason == NEVER) {
                true => PartState::Lost(Loss::Blocked),
                false => PartState::Cancelled,
            };
        }
        Some((SlurmState::OutOfMemory, _)) => {
            return PartState::Failed("out of memory; raise `memory`".into());
        }
        // Its own file may be a moment late on a shared file system.
        Some((SlurmState::Completed, _)) if exit.is_none() => return PartState::Done,
        Some((SlurmState::Failed | SlurmState::Completed, ended)) => Some(ended),
        None => None,
    };
    match (exit.map(Ended::Code), ended) {
        (Some(Ended::Code(INTERRUPTED)), _) => PartState::Lost(Loss::Interrupted),
        (Some(Ended::Code(code)), _) => PartState::Failed(format!("exit code {code}")),
        (_, Some(Ended::Signal(signal))) => PartState::Lost(Loss::Killed(signal)),
        (_, Some(Ended::Code(INTERRUPTED))) => PartState::Lost(Loss::Interrupted),
        // What shells, srun and Apptainer return for a process that a signal ended: SIGKILL,
        // SIGTERM.
        (_, Some(Ended::Code(code @ (137 | 143)))) => PartState::Lost(Loss::Killed(code - 128)),
        (_, Some(Ended::Code(code))) => PartState::Failed(format!("exit code {code}")),
        (_, None) => PartState::Lost(Loss::NoRecord),
    }
}
