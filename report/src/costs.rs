//! Model usage and its cost.

use crate::metrics::Share;
use fixfly_runtime::{EpisodeSummary, Finish};
use serde::Serialize;

/// A share with its name: a row of a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) share: Share,
}

/// Sums over all turns that called a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Costs {
    /// Turns that called a model.
    pub(crate) turns: usize,
    pub(crate) prompt_tokens: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) reasoning_tokens: u64,
    /// Tokens that speculation drafted; with those that are part of an answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) drafted_tokens: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) accepted_tokens: u64,
    /// API calls, including failed ones. Cached answers make no call.
    pub(crate) calls: u64,
    /// US dollars of the turns with a known price.
    pub(crate) usd: f64,
    pub(crate) priced_turns: usize,
    /// Finish reasons.
    pub(crate) finishes: Vec<Named>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Costs {
    pub(crate) fn of(episodes: &[&EpisodeSummary]) -> Self {
        let turns = episodes.iter().flat_map(|episode| &episode.turns);
        let asked = || turns.clone().filter_map(|turn| Some((&turn.usage, turn.model.as_ref()?)));
        let mut costs = Costs { turns: asked().count(), ..Costs::default() };
        for (usage, model) in asked() {
            if let Some(drafts) = model.speculation {
                costs.drafted_tokens += drafts.drafted_tokens;
                costs.accepted_tokens += drafts.accepted_tokens;
            }
            costs.prompt_tokens += usage.prompt_tokens;
            costs.cached_tokens += usage.cached_tokens;
            costs.completion_tokens += usage.completion_tokens;
            costs.reasoning_tokens += usage.reasoning_tokens;
            costs.calls += u64::from(usage.calls);
            costs.usd += usage.usd.unwrap_or_default();
            costs.priced_turns += usize::from(usage.usd.is_some());
        }
        let finishes: Vec<Finish> = asked().map(|(_, model)| model.finish).collect();
        costs.finishes = [
            (Finish::Stop, "stop"),
            (Finish::ToolCall, "tool call"),
            (Finish::Length, "token limit"),
            (Finish::Filtered, "content filter"),
            (Finish::Refused, "refused"),
        ]
        .into_iter()
        .map(|(finish, name)| {
            let count = finishes.iter().filter(|there| **there == finish).count();
            Named { name: name.into(), share: Share::new(count, finishes.len()) }
        })
        .filter(|named| named.share.count > 0)
        .collect();
        costs
    }
}
