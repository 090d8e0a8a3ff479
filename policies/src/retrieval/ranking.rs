//! Chooses the next proposal.

use std::collections::{BTreeMap, BTreeSet};

use fixfly_runtime::Turn;

use super::code;
use super::proposal::{Evidence, Idea, Proposal, Sign, plausibility};
use super::python::Answer;
use super::target::Target;

/// The likeliest proposal that has not been tried. With `chance`, it is drawn in
/// proportion to its likelihood, so that samples differ.
pub(super) fn best(
    target: &Target<'_>,
    proposals: Vec<Proposal>,
    turns: &[Turn],
    chance: Option<u64>,
) -> Option<Proposal> {
    let tried: BTreeSet<String> = turns.iter().map(|turn| normal(code(turn))).collect();
    let mut ranked = ranked(target, proposals);
    ranked.retain(|(_, _, normal)| !tried.contains(normal));
    if let Some(seed) = chance {
        for (score, _, normal) in &mut ranked {
            *score = score.exp().ln_1p().ln() + gumbel(seed, turns.len(), normal);
        }
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    }
    ranked.into_iter().next().map(|(_, proposal, _)| proposal)
}

/// The proposals that are exactly one method, without duplicates, with their log-odds
/// and normal form, best first.
pub(super) fn ranked(
    target: &Target<'_>,
    proposals: Vec<Proposal>,
) -> Vec<(f32, Proposal, String)> {
    let mut merged: BTreeMap<String, (f32, Proposal, f32)> = BTreeMap::new();
    for mut proposal in proposals {
        let Some(answer) = Answer::read(&proposal.code).filter(|answer| answer.is_whole) else {
            continue;
        };
        proposal.evidence.extend(plausibility(target, &answer));
        let score = score(proposal.idea, &proposal.evidence);
        let normal = answer.normal;
        match merged.get_mut(&normal) {
            Some((best, kept, votes)) => {
                *votes += 1.0;
                if score > *best {
                    (*best, *kept) = (score, proposal);
                }
            }
            None => _ = merged.insert(normal, (score, proposal, 1.0)),
        }
    }
    let voted = merged.into_iter().map(|(normal, (score, mut proposal, votes))| {
        proposal.evidence.push((Sign::Votes, f32::ln(votes)));
        (score + weight(proposal.idea, Sign::Votes) * votes.ln(), proposal, normal)
    });
    let mut ranked: Vec<_> = voted.collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked
}

/// The log-odds of a proposal.
fn score(idea: Idea, evidence: &Evidence) -> f32 {
    bias(idea) + evidence.iter().map(|&(sign, value)| weight(idea, sign) * value).sum::<f32>()
}

/// The log-odds of an idea before any evidence. Biases and weights ([`weight`]) are
/// rounded results of logistic regressions on methods of the training split. A copy
/// counted as right to the degree that it was similar to the original.
fn bias(idea: Idea) -> f32 {
    match idea {
        Idea::Sibling => -1.6,
        Idea::Family => -3.4,
        Idea::Similar => -0.7,
        Idea::Init => 1.2,
        Idea::Twin => 3.0,
        _ => -0.9,
    }
}

fn weight(idea: Idea, sign: Sign) -> f32 {
    let [sibling, family, similar, guess] = weights(sign);
    match idea {
        Idea::Sibling => sibling,
        Idea::Family => family,
        Idea::Similar => similar,
        Idea::Edit => f32::from(u8::from(sign == Sign::Prior)),
        _ => guess,
    }
}

/// The weights for a sibling, a family member, a similar method and a guess.
fn weights(sign: Sign) -> [f32; 4] {
    match sign {
        Sign::Prior => [0.2, 0.7, 0.2, 0.7],
        Sign::SameFile => [-0.7, 0.0, 0.0, 0.0],
        Sign::SameFolder => [1.1, 0.0, 0.0, 0.0],
        Sign::SameClass => [0.0, 0.9, 0.0, 0.0],
        Sign::ClassLikeness => [0.7, 0.0, -0.5, 0.0],
        Sign::NameLikeness => [0.0, 3.7, 0.5, 0.0],
        Sign::SameArguments => [0.3, 1.1, 0.6, 0.0],
        Sign::SameArity => [1.3, -0.3, 0.0, 0.0],
        Sign::SameDecorators => [-0.7, 0.5, -0.5, 0.0],
        Sign::Description => [0.1, 0.0, -0.5, 0.0],
        Sign::Relevance => [0.0, 0.0, -0.6, 0.0],
        Sign::SharedBase => [0.9, 0.3, 0.0, 0.0],
        Sign::FromAncestor => [-0.8, -1.5, -0.4, 0.0],
        Sign::NamesItself => [0.0, 0.4, -0.4, 0.0],
        Sign::Votes => [0.2, 0.1, 0.0, 0.0],
        Sign::MissingNames => [-1.0, -1.3, -0.8, -0.5],
        Sign::UnknownAttributes => [-0.5, -0.8, -0.6, -0.5],
        Sign::UnusedArguments => [-2.4, -1.7, -0.9, -1.5],
        Sign::ForeignToClass => [-1.1, -1.6, -0.9, -1.0],
        Sign::ForeignToFile => [-1.6, -1.3, -1.0, -0.5],
        Sign::Described => [-0.3, 0.2, -0.4, 0.0],
        Sign::Returns => [-0.6, -0.8, -0.4, -0.6],
        Sign::Length => [-0.4, -0.5, -0.7, -0.7],
    }
}

/// The normal form of a candidate; equal for candidates that are the same.
pub(super) fn normal(code: &str) -> String {
    Answer::read(code).map_or_else(|| code.to_string(), |answer| answer.normal)
}

/// Gumbel noise: added to log-odds, it makes their maximum a draw in proportion to the
/// odds.
fn gumbel(seed: u64, turn: usize, text: &str) -> f32 {
    let mut hash = seed ^ 0xcbf2_9ce4_8422_2325 ^ turn as u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let unit = ((hash >> 40) as f32 + 0.5) / (1u64 << 24) as f32;
    -(-unit.ln()).ln()
}
