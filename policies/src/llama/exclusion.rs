//! Sampling without replacement: whole answers that were generated before get
//! probability 0, and all others keep their relative probabilities.
//!
//! This is exact, as UniqueRandomizer is (Shi, Bieber and Singh, 2020). Where an answer
//! begins like an excluded one, the probability of the excluded one's next token is
//! reduced by the share that leads to exactly that answer: the product of the
//! probabilities of the tokens that follow.

use super::protocol::Drawn;

/// Less probability than this counts as none: it is due to rounding.
const NOTHING: f64 = 1e-12;

/// A token that may come next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) token: i32,
    pub(super) probability: f64,
}

/// The excluded answers that an answer in progress still begins like.
#[derive(Debug, Default)]
pub(super) struct Exclusions {
    answers: Vec<Excluded>,
    /// The number of tokens so far.
    position: usize,
}

#[derive(Debug)]
struct Excluded {
    tokens: Vec<i32>,
    /// For each token, the probability of all that follow it together.
    rest: Vec<f64>,
}

impl Exclusions {
    /// Excludes whole answers. Each ends with the token that ended it.
    pub(super) fn new(answers: &[Vec<Drawn>]) -> Self {
        let mut excluded: Vec<Excluded> = Vec::new();
        for answer in answers {
            let tokens: Vec<i32> = answer.iter().map(|drawn| drawn.token).collect();
            if excluded.iter().any(|other| other.tokens == tokens) {
                continue;
            }
            let mut rest = Vec::with_capacity(answer.len());
            let mut product = 1.0;
            for drawn in answer.iter().rev() {
                rest.push(product);
                product *= drawn.probability;
            }
            rest.reverse();
            excluded.push(Excluded { tokens, rest });
        }
        Exclusions { answers: excluded, position: 0 }
    }

    /// Whether no excluded answer can be reached any more.
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Removes the share of the excluded answers from the probabilities of the next token.
    /// Returns false and leaves the probabilities if there is no other answer.
    pub(super) fn adjust(&self, candidates: &mut [Candidate]) -> bool {
        let adjusted = |candidate: &Candidate| {
            let shares = self.answers.iter().filter_map(|excluded| {
                let next = excluded.tokens.get(self.position)?;
                let rest = excluded.rest.get(self.position)?;
                (*next == candidate.token).then_some(*rest)
            });
            candidate.probability * (1.0 - shares.sum::<f64>()).max(0.0)
        };
        let probabilities: Vec<f64> = candidates.iter().map(adjusted).collect();
        let total: f64 = probabilities.iter().sum();
        if total < NOTHING {
            return false;
        }
        for (candidate, probability) in candidates.iter_mut().zip(probabilities) {
            candidate.probability = probability / total;
        }
        true
    }

    /// Continues after this token.
    pub(super) fn advance(&mut self, token: i32) {
        let position = self.position;
        self.answers.retain(|excluded| excluded.tokens.get(position) == Some(&token));
        self.position += 1;
    }
}

/// The index of a candidate, drawn by a number from 0 to 1.
pub(super) fn draw(candidates: &[Candidate], number: f64) -> usize {
    let mut sum = 0.0;
    let reached = candidates.iter().position(|candidate| {
        sum += candidate.probability;
        candidate.probability > 0.0 && sum > number
    });
    // Rounding may leave the sum a little below 1.
    reached.unwrap_or_else(|| likeliest(candidates))
}

/// The index of the likeliest candidate.
pub(super) fn likeliest(candidates: &[Candidate]) -> usize {
    let by = |one: &(usize, &Candidate), other: &(usize, &Candidate)| {
        one.1.probability.total_cmp(&other.1.probability).then(other.0.cmp(&one.0))
    };
    candidates.iter().enumerate().max_by(by).map_or(0, |(at, _)| at)
}

/// A number from 0 to 1, excluding 1, for a seed and a position (SplitMix64).
pub(super) fn uniform(seed: u64, position: usize) -> f64 {
    let step = (position as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut mixed = seed.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(step);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The token that ends an answer of the toy model.
    const END: i32 = 2;
    /// Maximum tokens of its answers.
    const LONGEST: usize = 3;

    /// What a toy model expects after some tokens.
    fn next(model: u64, before: &[i32]) -> Vec<Candidate> {
        let seed = before.iter().fold(model, |seed, token| seed * 7 + *token as u64 + 1);
        let weights: Vec<f64> = (0..=END as usize).map(|at| 0.05 + uniform(seed, at)).collect();
        let total: f64 = weights.iter().sum();
        let candidate = |(token, weight)| Candidate { token, probability: weight / total };
        (0..=END).zip(weights).map(candidate).collect()
    }

    /// All answers of the toy model, with the probability of each token.
    fn answers(model: u64) -> Vec<Vec<Drawn>> {
        let mut whole = Vec::new();
        let mut open: Vec<Vec<Drawn>> = vec![Vec::new()];
        while let Some(before) = open.pop() {
            let tokens: Vec<i32> = before.iter().map(|drawn| drawn.token).collect();
            for Candidate { token, probability } in next(model, &tokens) {
                let mut answer = before.clone();
                answer.push(Drawn { token, probability });
                let is_whole = token == END || answer.len() == LONGEST;
                if is_whole { whole.push(answer) } else { open.push(answer) }
            }
        }
        whole
    }

    fn probability(answer: &[Drawn]) -> f64 {
        answer.iter().map(|drawn| drawn.probability).product()
    }

    /// The probability of an answer if others are excluded.
    fn adjusted(model: u64, answer: &[Drawn], excluded: &[Vec<Drawn>]) -> f64 {
        let mut exclusions = Exclusions::new(excluded);
        let (mut before, mut product) = (Vec::new(), 1.0);
        for drawn in answer {
            let mut candidates = next(model, &before);
            if !exclusions.adjust(&mut candidates) {
                return 0.0;
            }
            product *= candidates.iter().find(|c| c.token == drawn.token).unwrap().probability;
            exclusions.advance(drawn.token);
            before.push(drawn.token);
        }
        product
    }

    proptest! {
        #[test]
        fn what_is_left_keeps_its_relative_probability(
            model in 0_u64..1000,
            picked in prop::collection::vec(0_usize..15, 1..8),
        ) {
            let all = answers(model);
            prop_assert_eq!(all.len(), 15);
            // Excluding an answer twice is excluding it once.
            let excluded: Vec<Vec<Drawn>> = picked.iter().map(|at| all[*at].clone()).collect();
            let is_excluded = |answer: &Vec<Drawn>| excluded.contains(answer);
            let left: f64 = all.iter().filter(|one| !is_excluded(one)).map(|a| probability(a)).sum();
            for answer in &all {
                let expected = match is_excluded(answer) {
                    true => 0.0,
                    false => probability(answer) / left,
                };
                let found = adjusted(model, answer, &excluded);
                prop_assert!((found - expected).abs() < 1e-9, "{} for {}", found, expected);
            }
        }
    }

    #[test]
    fn drawing_without_replacement_reaches_every_answer_once() {
        let all = answers(3);
        let mut excluded: Vec<Vec<Drawn>> = Vec::new();
        for seed in 0..all.len() as u64 {
            let mut exclusions = Exclusions::new(&excluded);
            let mut answer: Vec<Drawn> = Vec::new();
            while answer.len() < LONGEST && answer.last().is_none_or(|last| last.token != END) {
                let tokens: Vec<i32> = answer.iter().map(|drawn| drawn.token).collect();
                let original = next(3, &tokens);
                let mut candidates = original.clone();
                assert!(exclusions.adjust(&mut candidates));
                let at = draw(&candidates, uniform(seed, answer.len()));
                let Candidate { token, probability } = original[at];
                exclusions.advance(token);
                answer.push(Drawn { token, probability });
            }
            assert!(all.contains(&answer) && !excluded.contains(&answer), "{answer:?}");
            excluded.push(answer);
        }
        let mut first = next(3, &[]);
        let before = first.clone();
        assert!(!Exclusions::new(&excluded).adjust(&mut first), "no answer is left");
        assert_eq!(first, before);
    }

    #[test]
    fn a_draw_follows_the_probabilities() {
        let candidate = |token, probability| Candidate { token, probability };
        let candidates = [candidate(5, 0.25), candidate(6, 0.0), candidate(7, 0.75)];
        for (number, expected) in [(0.0, 0), (0.2499, 0), (0.25, 2), (0.9999, 2)] {
            assert_eq!(draw(&candidates, number), expected, "{number}");
        }
        assert_eq!(likeliest(&candidates), 2);
        let mean = (0..2000).map(|at| uniform(1, at)).sum::<f64>() / 2000.0;
        assert!((mean - 0.5).abs() < 0.03, "{mean}");
    }
}
