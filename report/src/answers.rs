//! What answers to faulty methods do wrong: they repeat an earlier answer, or remove what the
//! method does not have.

use fixfly_runtime::answer::repaired;
use fixfly_runtime::{Episode, Method};
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
pub(crate) fn answers(episodes: &[&Episode]) -> Vec<AnswersAt> {
    let shown = |episode: &&Episode| {
        let method = episode.task.statement.method().filter(|method| method.faulty.is_some());
        method.is_some()
    };
    let episodes: Vec<&Episode> = episodes.iter().copied().filter(shown).collect();
    let last = episodes.iter().map(|episode| episode.turns.len()).max().unwrap_or_default();
    let at = |at: usize| {
        let there = episodes.iter().filter(move |episode| at < episode.turns.len());
        AnswersAt {
            turn: at + 1,
            repeated: Share::of(there.clone().map(|episode| repeats(episode, at))),
            missing: Share::of(there.map(|episode| removes_nothing(episode, at))),
        }
    };
    (0..last).map(at).collect()
}

/// Whether this turn's answer is equal to an earlier one.
fn repeats(episode: &Episode, at: usize) -> bool {
    let mut answers = episode.turns.iter().take(at + 1).map(|turn| turn.action.answer());
    answers.next_back().is_some_and(|answer| answers.any(|earlier| earlier == answer))
}

/// Whether this turn's answer removes what the method does not have.
fn removes_nothing(episode: &Episode, at: usize) -> bool {
    let code = episode.turns.get(at).and_then(|turn| turn.action.call.code());
    let Some(Method { faulty: Some(faulty), options, .. }) = episode.task.statement.method() else {
        return false;
    };
    code.is_some_and(|code| repaired(faulty, code, options.edit).is_err_and(|why| why.is_missing()))
}
