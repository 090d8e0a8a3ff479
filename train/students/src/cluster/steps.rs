//! Which parts to submit now.

use super::state::{Loss, Part, PartState};
use super::{Plan, PlannedJob};

/// What is submitted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// What is lost, as often as the options allow.
    Lost,
    /// What is lost, failed or cancelled.
    All,
}

/// Parts of a job to submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The index of the job.
    pub(super) job: usize,
    /// The parts.
    pub(super) parts: Vec<u32>,
    /// Those of them that were lost.
    pub(super) lost: Vec<u32>,
    /// Jobs in the queue that these replace.
    pub(super) cancel: Vec<String>,
}

/// The steps, each after those that it depends on. `parts` are those of each job.
pub(super) fn steps(plan: &Plan, parts: &[Vec<Part>], retry: Retry) -> Vec<Step> {
    let (mut steps, mut renewed, mut stuck) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (job, parts)) in plan.jobs.iter().zip(parts).enumerate() {
        let before = |names: &[&str]| job.after.iter().any(|name| names.contains(&&**name));
        if job.held || before(&stuck) {
            stuck.push(&*job.name);
            continue;
        }
        let is_renewed = before(&renewed);
        let chosen = parts.iter().filter(|part| is_wanted(job, part, retry, is_renewed));
        let chosen: Vec<&Part> = chosen.collect();
        if parts.iter().any(|part| part.state.has_stopped() && !chosen.contains(&part)) {
            stuck.push(&*job.name);
        }
        if chosen.is_empty() {
            continue;
        }
        renewed.push(&*job.name);
        let counts =
            |part: &&&Part| matches!(part.state, PartState::Lost(loss) if loss != Loss::Blocked);
        steps.push(Step {
            job: at,
            parts: chosen.iter().map(|part| part.number).collect(),
            lost: chosen.iter().filter(counts).map(|part| part.number).collect(),
            cancel: chosen
                .iter()
                .filter(|part| part.queued)
                .filter_map(|part| part.id.clone())
                .collect(),
        });
    }
    steps
}

fn is_wanted(job: &PlannedJob, part: &Part, retry: Retry, is_renewed: bool) -> bool {
    match &part.state {
        PartState::New | PartState::Lost(Loss::Blocked) => true,
        PartState::Lost(_) => retry == Retry::All || part.lost < job.options.resubmissions(),
        PartState::Failed(_) | PartState::Cancelled => retry == Retry::All,
        // It depends on a job that is replaced.
        PartState::Pending(_) => is_renewed,
        PartState::Running(_) | PartState::Done | PartState::Unknown(_) => false,
    }
}
