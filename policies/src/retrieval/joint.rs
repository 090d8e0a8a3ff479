//! Several methods in one answer: first the likeliest proposal for each, then another one for
//! one of them at a time, beside what did best so far.

use fixfly_runtime::{JointMethods, Method, Observation, Turn, View};

use super::proposal::Proposal;
use super::{Retrieval, code, python};

/// The idea of the next answer that was not tried, and the answer; `None` if there is none.
pub(super) fn next(
    retrieval: &Retrieval,
    joint: &JointMethods,
    view: &View<'_>,
) -> Option<(String, String)> {
    let methods = joint.methods.iter();
    let methods = methods.map(|method| Method { content: joint.content.clone(), ..method.clone() });
    let proposals = methods.zip(0..).map(|(method, at)| {
        let turns: Vec<Turn> =
            view.turns.iter().map(|turn| of_method(turn, &method.name)).collect();
        let chance = (view.sample > 0).then(|| view.seed.wrapping_add(at));
        retrieval.propose(&method, &turns, chance)
    });
    let proposals: Vec<Option<Proposal>> = proposals.collect();
    let passed = |turn: &&Turn| turn.observation.tests.as_ref().map(|tests| tests.count_passed());
    match view.turns.iter().max_by_key(passed) {
        None => first(joint, &proposals),
        Some(best) => changed(joint, code(best), &proposals, view.turns.len() - 1),
    }
}

/// The likeliest of each; what has no proposal raises.
fn first(joint: &JointMethods, proposals: &[Option<Proposal>]) -> Option<(String, String)> {
    let ideas: Vec<String> = proposals.iter().flatten().map(Proposal::origin).collect();
    let parts = joint.methods.iter().zip(proposals).map(|(method, proposal)| match proposal {
        Some(proposal) => proposal.code.trim_end().to_string(),
        None => stub(method),
    });
    (!ideas.is_empty()).then(|| (ideas.join(", "), joined(parts)))
}

/// The answer `best` with another proposal for one of its methods. It is the turn of a method by
/// its position; one without a proposal is passed over.
fn changed(
    joint: &JointMethods,
    best: &str,
    proposals: &[Option<Proposal>],
    turn: usize,
) -> Option<(String, String)> {
    let count = proposals.len();
    let places = (turn..turn + count).map(|at| at % count);
    let (at, proposal) =
        places.into_iter().find_map(|at| proposals[at].as_ref().map(|proposal| (at, proposal)))?;
    let parts = joint.methods.iter().enumerate().map(|(other, method)| {
        let own = || python::definition(best, &method.name).map(str::to_string);
        match other == at {
            true => proposal.code.trim_end().to_string(),
            false => own().unwrap_or_else(|| stub(method)),
        }
    });
    Some((proposal.origin(), joined(parts)))
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join("\n\n\n")
}

fn stub(method: &Method) -> String {
    format!("{}\n    raise NotImplementedError", method.declaration)
}

/// The turn as if it had submitted this method only.
fn of_method(turn: &Turn, name: &str) -> Turn {
    let candidate = python::definition(code(turn), name).map(str::to_string);
    let observation = Observation { candidate, ..turn.observation.clone() };
    Turn { observation, ..turn.clone() }
}
