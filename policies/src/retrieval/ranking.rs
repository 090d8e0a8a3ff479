//! Which proposal comes next.

use std::collections::{BTreeMap, BTreeSet};

use fixfly_runtime::Turn;

use super::code;
use super::proposal::{Evidence, Idea, Proposal, Sign, plausibility};
use super::python::{Function, is_one_function, tokens};
use super::target::Target;

/// The likeliest proposal that fits and was not tried. With `chance`, drawn in
/// proportion to likelihood, so that samples differ.
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
    let fits = |(_, proposal, _): (f32, Proposal, String)| {
        is_one_function(&proposal.code).then_some(proposal)
    };
    ranked.into_iter().find_map(fits)
}

/// Proposals with their log-odds and normal form, best first, each code once.
pub(super) fn ranked(
    target: &Target<'_>,
    proposals: Vec<Proposal>,
) -> Vec<(f32, Proposal, String)> {
    let mut merged: BTreeMap<String, (f32, Proposal, f32)> = BTreeMap::new();
    for mut proposal in proposals {
        let Some(function) = Function::read(&proposal.code) else { continue };
        proposal.evidence.extend(plausibility(target, &function));
        let score = score(proposal.idea, &proposal.evidence);
        let normal = normal(&proposal.code);
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

/// Log-odds.
fn score(idea: Idea, evidence: &Evidence) -> f32 {
    bias(idea) + evidence.iter().map(|&(sign, value)| weight(idea, sign) * value).sum::<f32>()
}

/// Where an idea stands before any evidence.
fn bias(idea: Idea) -> f32 {
    match idea {
        Idea::Sibling => -3.0,
        Idea::Family => -5.0,
        Idea::Similar => -6.0,
        _ => 1.0,
    }
}

fn weight(idea: Idea, sign: Sign) -> f32 {
    match (idea, sign) {
        (Idea::Edit, Sign::Prior) => 1.0,
        (Idea::Edit, _) => 0.0,
        (Idea::Sibling | Idea::Family | Idea::Similar, Sign::Prior) => 0.3,
        (_, Sign::Prior) => 1.0,
        (_, Sign::SameFile) => 0.5,
        (_, Sign::SameFolder) => 0.3,
        (_, Sign::SameClass) => 0.5,
        (_, Sign::ClassLikeness) => 1.0,
        (_, Sign::NameLikeness) => 2.0,
        (_, Sign::SameArguments) => 1.0,
        (_, Sign::SameArity) => 0.5,
        (_, Sign::SameDecorators) => 0.3,
        (_, Sign::Description) => 1.0,
        (_, Sign::Relevance) => 1.0,
        (_, Sign::SharedBase) => 0.7,
        (_, Sign::FromAncestor) => -1.0,
        (_, Sign::NamesItself) => 0.3,
        (_, Sign::Votes) => 0.7,
        (_, Sign::MissingNames) => -1.5,
        (_, Sign::UnknownAttributes) => -0.7,
        (_, Sign::UnusedArguments) => -1.5,
        (_, Sign::Length) => -0.3,
    }
}

/// Code without comments, docstring and layout: what makes two answers one.
pub(super) fn normal(code: &str) -> String {
    let body = Function::read(code).map_or_else(|| code.to_string(), |function| function.body);
    let tokens = tokens(&body);
    let words = tokens.iter().filter(|token| !token.kind.is_comment());
    words.map(|token| &body[token.range]).collect::<Vec<_>>().join(" ")
}

/// Noise that makes the greatest of noisy log-odds a fair draw.
fn gumbel(seed: u64, turn: usize, text: &str) -> f32 {
    let mut hash = seed ^ 0xcbf2_9ce4_8422_2325 ^ turn as u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let unit = ((hash >> 40) as f32 + 0.5) / (1u64 << 24) as f32;
    -(-unit.ln()).ln()
}
