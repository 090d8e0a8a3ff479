//! Values of the texts of episodes. Episodes are read one at a time, and only if a part of the
//! report needs their texts.

use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

use fixfly_runtime::{Action, Episode, JoinedRecording, RunError};

use super::Attempt;
use crate::inputs::{Inputs, Reference, TokenCounter};
use crate::truth::{Truth, offered};

/// What a report needs of the texts.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a> {
    reference: &'a dyn Reference,
    truth: Option<&'a Truth<'a>>,
    tokens: Option<&'a TokenCounter<'a>>,
    /// Whether to keep them.
    kept: bool,
}

impl<'a> Texts<'a> {
    pub(super) fn of(truth: Option<&'a Truth<'a>>, inputs: &Inputs<'a>) -> Self {
        let Inputs { reference, tokens, texts: kept, .. } = *inputs;
        Texts { reference, truth, tokens, kept }
    }

    /// Adds the values to the attempts. `places`: the index of each one's episode.
    pub(super) fn add(
        self,
        attempts: &mut [Attempt],
        places: &[usize],
        episodes: &JoinedRecording,
    ) -> Result<(), RunError> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let size = attempts.len().div_ceil(threads).max(1);
        thread::scope(|scope| {
            let parts = attempts.chunks_mut(size).zip(places.chunks(size));
            let threads: Vec<_> = parts
                .map(|(part, places)| scope.spawn(move || self.add_part(part, places, episodes)))
                .collect();
            let mut joined = threads.into_iter().map(ScopedJoinHandle::join);
            joined.try_for_each(|done| done.unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }

    fn add_part(
        self,
        attempts: &mut [Attempt],
        places: &[usize],
        episodes: &JoinedRecording,
    ) -> Result<(), RunError> {
        let judges = self.truth.is_some_and(|truth| truth.missing().is_none());
        // Without references, a table only tells whether there are methods.
        let mut looks = self.truth.is_some() && !judges;
        for (attempt, at) in attempts.iter_mut().zip(places) {
            let is_method = episodes.summaries()[*at].file.is_some();
            let counts = self.tokens.is_some() && !attempt.reasoning_lengths.is_empty();
            if counts || (is_method && (judges || looks || self.kept)) {
                self.add_one(attempt, &episodes.episode(*at)?);
                looks &= !attempt.has_method;
            }
        }
        Ok(())
    }

    fn add_one(self, attempt: &mut Attempt, episode: &Episode) {
        let texts = || episode.turns.iter().map(|turn| reasoning(&turn.action));
        if let Some(count) = self.tokens {
            for (length, text) in attempt.reasoning_lengths.iter_mut().zip(texts().flatten()) {
                length.tokens = Some(count(text) as u64);
            }
        }
        let method = offered(episode, self.reference);
        let judge = |method: &String| self.truth?.judge(&episode.task, method);
        attempt.judged = method.as_ref().and_then(judge).map(Box::new);
        attempt.has_method = method.is_some();
        if self.kept {
            attempt.method = method;
            attempt.first_reasoning = texts().next().flatten().map(String::from);
        }
    }
}

/// The reasoning of a model. Notes of other policies do not count.
fn reasoning(action: &Action) -> Option<&str> {
    action.generation.as_ref()?;
    action.reasoning.as_deref().filter(|text| !text.trim().is_empty())
}
