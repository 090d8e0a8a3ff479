//! What answers to faulty methods do wrong: they repeat an earlier answer, or remove what the
//! method does not have.

use fixfly_runtime::{EpisodeSummary, TurnSummary};
use serde::Serialize;

use crate::metrics::Share;

/// The answers of one turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct AnswersAt {
    /// From 1.
    pub(crate) turn: usize,
    /// Answers that are equal to an earlier one of the episode, by their code.
    pub(crate) repeated: Share,
    /// Changes of a line that the method does not have.
    pub(crate) missing: Share,
}

/// The answers by turn; empty if no task shows a faulty method.
pub(crate) fn answers(episodes: &[&EpisodeSummary]) -> Vec<AnswersAt> {
    let faulty: Vec<_> = episodes.iter().filter(|episode| episode.faulty).collect();
    let last = faulty.iter().map(|episode| episode.turns.len()).max().unwrap_or_default();
    let at = |at: usize| {
        let there = faulty.iter().filter_map(|episode| episode.turns.get(at));
        let share = |is: fn(&TurnSummary) -> bool| Share::of(there.clone().map(is));
        AnswersAt {
            turn: at + 1,
            repeated: share(|turn| turn.repeated),
            missing: share(|turn| turn.removes_missing),
        }
    };
    (0..last).map(at).collect()
}
