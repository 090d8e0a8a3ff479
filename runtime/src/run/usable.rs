//! The rule about the first episodes of a run: if none of them holds a usable answer, for
//! one reason, the model or its server is not set up as intended, and the run stops.
//!
//! An answer is usable if it holds text outside its reasoning and no limit cut it off. A
//! wrong method is usable, and so is a text that cannot be parsed: weak models run on.

use std::borrow::Borrow;
use std::convert::Infallible;
use std::fmt::{self, Display, Formatter};

use crate::budget::Limit;
use crate::episode::{End, Episode, FailureKind};
use crate::summary::{EpisodeSummary, TurnSummary};
use crate::turn::Action;
use crate::unusable::UnusableReason;

/// The number of episodes that the rule looks at.
const FIRST: usize = 8;
/// A run of fewer episodes says nothing about its model.
const FEWEST: usize = 3;
/// Characters of the answer that is shown.
const SHOWN: usize = 300;

/// Why the answers of a run are of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The number of episodes.
    pub episodes: usize,
    /// The reason, the same for all.
    pub reason: UnusableReason,
    /// What the first one of them holds: the start of its answer, or of its reasoning.
    pub example: String,
}

impl UnusableReason {
    fn what(self) -> &'static str {
        match self {
            UnusableReason::OnlyReasoning => "all text is reasoning, and there is no answer",
            UnusableReason::Empty => "the answers are empty",
            UnusableReason::CutOff => "the limit of tokens cut the answers off",
            UnusableReason::Filtered => "the server's content filter rejected them",
            UnusableReason::PromptTooLong => "the prompt does not fit into the model's context",
            UnusableReason::ModelFailed => "the model failed before it answered",
        }
    }

    /// What a user can try.
    fn advice(self) -> &'static str {
        match self {
            UnusableReason::OnlyReasoning => {
                "try --think yes or --think no, or start the server with the reasoning parser \
                 of this model, or without one"
            }
            UnusableReason::Empty => {
                "check that the server has the chat template of this model, and try --stream \
                 no or --tool-calls text"
            }
            UnusableReason::CutOff => "raise --max-tokens, or try --think no",
            UnusableReason::Filtered => "use another server, or one with another content filter",
            UnusableReason::PromptTooLong => {
                "start the server with a longer context, or lower --max-tokens"
            }
            UnusableReason::ModelFailed => "check the model and its settings",
        }
    }
}

impl Display for Unusable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Unusable { episodes, reason, example } = self;
        write!(f, "none of {episodes} episodes holds a usable answer: {}", reason.what())?;
        if !example.is_empty() {
            write!(f, " (for example: {example:?})")?;
        }
        write!(f, "; {}", reason.advice())
    }
}

/// The first episodes of a run, so far.
#[derive(Debug, Default)]
pub(super) struct FirstEpisodes {
    /// Whether one of them holds a usable answer, or they differ.
    fine: bool,
    unusable: Option<Unusable>,
    /// Why the rule stopped an earlier part of the run.
    earlier: Option<Unusable>,
}

impl FirstEpisodes {
    /// After these episodes, which were recorded earlier. If the rule stopped them, the
    /// user has resumed the run: it looks at the first new ones. `read` reads one of them,
    /// for an example.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn of<E, T: Borrow<Episode>>(
        finished: &[EpisodeSummary],
        read: impl Fn(usize) -> Result<T, E>,
    ) -> Result<FirstEpisodes, E> {
        let mut first = FirstEpisodes::default();
        for (at, summary) in finished.iter().enumerate() {
            first.count_summary(summary, || read(at))?;
        }
        Ok(match first.unusable() {
            Some(earlier) => FirstEpisodes { earlier: Some(earlier), ..Default::default() },
            None => first,
        })
    }

    pub(super) fn count(&mut self, episode: &Episode) {
        let summary = EpisodeSummary::of(episode);
        let Ok(()) = self.count_summary(&summary, || Ok::<_, Infallible>(episode));
    }

    fn count_summary<E, T: Borrow<Episode>>(
        &mut self,
        summary: &EpisodeSummary,
        episode: impl FnOnce() -> Result<T, E>,
    ) -> Result<(), E> {
        if self.fine || summary.infrastructure_failure() {
            return Ok(());
        }
        match (reason(summary), &mut self.unusable) {
            (None, _) => self.fine = true,
            (Some(new), Some(all)) if new == all.reason => all.episodes += 1,
            (Some(_), Some(_)) => self.fine = true,
            (Some(reason), none) => {
                let episode = episode()?;
                let shown = episode.borrow().turns.first().map(|turn| example(&turn.action));
                let example = shown.unwrap_or_default();
                *none = Some(Unusable { episodes: 1, reason, example });
            }
        }
        Ok(())
    }

    /// The reason to stop the run now.
    pub(super) fn unusable(&self) -> Option<Unusable> {
        self.at_least(FIRST)
    }

    /// The reason why a run that ended is of no use.
    pub(super) fn unusable_at_end(&self) -> Option<Unusable> {
        let nothing_new = !self.fine && self.unusable.is_none();
        self.at_least(FEWEST).or_else(|| self.earlier.clone().filter(|_| nothing_new))
    }

    fn at_least(&self, count: usize) -> Option<Unusable> {
        self.unusable.clone().filter(|unusable| !self.fine && unusable.episodes >= count)
    }
}

/// Why no answer of the episode is usable; `None` if one is, or if no model was asked.
fn reason(episode: &EpisodeSummary) -> Option<UnusableReason> {
    let Some(first) = episode.turns.first() else {
        return match episode.end {
            End::BudgetSpent { limit: Limit::Context } => Some(UnusableReason::PromptTooLong),
            End::Failed { kind: FailureKind::Model, .. } => Some(UnusableReason::ModelFailed),
            _ => None,
        };
    };
    let of = |turn: &TurnSummary| turn.model.and_then(|model| model.unusable);
    if episode.solved() || episode.turns.iter().any(|turn| of(turn).is_none()) {
        return None;
    }
    of(first)
}

/// The start of the text, or of the reasoning if there is no text.
fn example(action: &Action) -> String {
    let reasoning = action.reasoning.as_deref().unwrap_or_default();
    let text = [action.text.trim(), reasoning.trim()].into_iter().find(|text| !text.is_empty());
    let text = text.unwrap_or_default();
    let mut start: String = text.chars().take(SHOWN).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

#[cfg(test)]
#[path = "usable/tests.rs"]
mod tests;
