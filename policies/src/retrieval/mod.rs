//! The baseline without a model: it adapts methods similar to the task's, then
//! repairs them where the tests fail.
//!
//! It sees the task, the test results and the training methods, but never the
//! answer. If the task shows a faulty method with its file, small changes of that method come
//! first. In each turn it makes all proposals it can and answers with the likeliest
//! one that it has not tried.

mod constructor;
mod copies;
mod corpus;
mod edits;
mod faulty;
mod names;
mod proposal;
mod python;
mod ranking;
mod rewrite;
mod target;
mod templates;
mod twin;
mod words;

use async_trait::async_trait;
use fixfly_runtime::{Action, Call, Entry, Policy, PolicyError, Turn, Usage, View};

use self::corpus::Corpus;
use self::proposal::Proposal;
use self::target::Target;
use crate::{Open, answer};

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "retrieval",
    about: "methods of the training split, adapted, then repaired by the failing tests; no model",
    open: Open::Examples(|examples| Box::new(Retrieval { corpus: Corpus::new(&examples) })),
};

struct Retrieval {
    corpus: Corpus,
}

#[async_trait]
impl Policy for Retrieval {
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError> {
        let method = view.task.statement.method().ok_or_else(|| {
            let id = &view.task.id;
            PolicyError::Model(format!("{id}: retrieval writes methods, it resolves no issue"))
        })?;
        let target = Target::read(method);
        let mut proposals = proposals(&target, &self.corpus);
        proposals.extend(edits::propose(&target, view.turns));
        proposals.extend(faulty::propose(&target));
        let chance = (view.sample > 0).then_some(view.seed);
        let best = ranking::best(&target, proposals, view.turns, chance);
        Ok(best.map_or_else(give_up, |best| act(&best)))
    }
}

/// All proposals that need no test results.
fn proposals(target: &Target<'_>, corpus: &Corpus) -> Vec<Proposal> {
    let mut proposals = copies::propose(target, corpus);
    proposals.extend(twin::propose(target));
    proposals.extend(constructor::propose(target, corpus));
    proposals.extend(templates::propose(target));
    proposals
}

fn act(proposal: &Proposal) -> Action {
    let idea = format!("idea: {} from {}", proposal.idea.label(), proposal.from);
    answer::free(&proposal.code, Some(idea))
}

fn give_up() -> Action {
    Action {
        text: String::new(),
        reasoning: None,
        call: Call::Submit,
        usage: Usage::default(),
        generation: None,
    }
}

/// The code that an earlier turn submitted.
fn code(turn: &Turn) -> &str {
    let said = || fixfly_runtime::code_block(&turn.action.text);
    turn.observation.candidate.as_deref().unwrap_or_else(said)
}
