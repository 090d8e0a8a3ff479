//! Chooses each token of an answer: grammar, temperature, top-k, top-p, then the draw.

use fixfly_runtime::Sampling;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

use super::exclusion::{Candidate, Exclusions, draw, likeliest, uniform};
use super::grammar;
use super::protocol::{Drawn, GenerateRequest, Refusal};

/// A grammar is asked only about tokens whose logit is at most this far below the
/// likeliest token that it allows. The others have less than 2e-11 of its probability at
/// temperature 1, and there are many of them.
const BAND: f32 = 25.0;

/// The sampler of one answer.
pub(super) struct Sampler {
    grammar: Option<LlamaSampler>,
    /// How far below the likeliest token others may be.
    band: f32,
    /// Temperature, top-k and top-p.
    shape: LlamaSampler,
    /// The draw, where nothing is excluded.
    last: LlamaSampler,
    greedy: bool,
    exclusions: Exclusions,
    /// Whether the probability of each token is needed.
    probabilities: bool,
    seed: u64,
    position: usize,
}

impl Sampler {
    pub(super) fn new(request: &GenerateRequest, model: &LlamaModel) -> Result<Self, Refusal> {
        let grammar = grammar::of(&request.constraint).map_err(Refusal::Grammar)?;
        let grammar = grammar.map(|text| LlamaSampler::grammar(model, &text, "root"));
        let grammar = grammar.transpose().map_err(|error| Refusal::Grammar(error.to_string()))?;
        let sampling = &request.sampling;
        let temperature = sampling.temperature.unwrap_or_default();
        let seed = sampling.seed.unwrap_or_default();
        let greedy = temperature == 0.0;
        Ok(Sampler {
            grammar,
            band: BAND * temperature.max(1.0) as f32,
            shape: LlamaSampler::chain(shape(sampling), true),
            last: match greedy {
                true => LlamaSampler::greedy(),
                false => LlamaSampler::dist(seed as u32),
            },
            greedy,
            exclusions: Exclusions::new(&request.excluded),
            probabilities: request.probabilities,
            seed,
            position: 0,
        })
    }

    /// The next token for this row of the batch, and its probability if that is needed.
    /// Greedy decoding has the probabilities of temperature 1. `None` if the grammar
    /// allows no token.
    pub(super) fn next(&mut self, context: &LlamaContext<'_>, row: i32) -> Option<Drawn> {
        let drawn = match self.is_plain() {
            true => most_likely(context.get_logits_ith(row)),
            false => self.draw(context.token_data_array_ith(row)),
        }?;
        if let Some(grammar) = &mut self.grammar {
            grammar.accept(LlamaToken(drawn.token));
        }
        self.exclusions.advance(drawn.token);
        self.position += 1;
        Some(drawn)
    }

    /// Whether the token with the largest logit is taken, whichever it is. Then the other
    /// tokens, of which there are often more than 100,000, need not be listed.
    fn is_plain(&self) -> bool {
        self.greedy && self.grammar.is_none() && self.exclusions.is_empty() && !self.probabilities
    }

    fn draw(&mut self, all: LlamaTokenDataArray) -> Option<Drawn> {
        let mut candidates = self.allowed(all);
        self.shape.apply(&mut candidates);
        match self.exclusions.is_empty() {
            true => self.free(candidates),
            false => self.restricted(&candidates),
        }
    }

    /// The tokens that the grammar allows.
    fn allowed(&mut self, all: LlamaTokenDataArray) -> LlamaTokenDataArray {
        let Some(grammar) = &mut self.grammar else { return all };
        let mut floor = likeliest_logit(&all) - self.band;
        loop {
            let near = all.data.iter().copied().filter(|token| token.logit() >= floor);
            let mut near = LlamaTokenDataArray::from_iter(near, false);
            let is_all = near.data.len() == all.data.len();
            grammar.apply(&mut near);
            near.data.retain(|token| token.logit() > f32::NEG_INFINITY);
            let wanted = likeliest_logit(&near) - self.band;
            if is_all || wanted >= floor {
                return near;
            }
            floor = wanted;
        }
    }

    /// Draws where nothing is excluded.
    fn free(&mut self, mut candidates: LlamaTokenDataArray) -> Option<Drawn> {
        self.last.apply(&mut candidates);
        let token = candidates.selected_token()?.0;
        let probability = match self.probabilities {
            true => probabilities(&candidates).into_iter().find(|one| one.token == token),
            false => None,
        };
        Some(Drawn { token, probability: probability.map_or(0.0, |one| one.probability) })
    }

    /// Draws without the excluded answers. If there is no other answer, an excluded one is
    /// generated again.
    fn restricted(&self, candidates: &LlamaTokenDataArray) -> Option<Drawn> {
        let original = probabilities(candidates);
        let mut adjusted = original.clone();
        self.exclusions.adjust(&mut adjusted);
        let at = match self.greedy {
            true => likeliest(&adjusted),
            false => draw(&adjusted, uniform(self.seed, self.position)),
        };
        let Candidate { token, probability } = *original.get(at)?;
        Some(Drawn { token, probability })
    }
}

/// Temperature comes first, as on the server of the paper's models.
fn shape(sampling: &Sampling) -> Vec<LlamaSampler> {
    let temperature = sampling.temperature.unwrap_or_default();
    if temperature == 0.0 {
        return Vec::new();
    }
    let mut chain = vec![LlamaSampler::temp(temperature as f32)];
    let top_k = sampling.top_k.map(|k| LlamaSampler::top_k(i32::try_from(k).unwrap_or(i32::MAX)));
    chain.extend(top_k);
    chain.extend(sampling.top_p.map(|p| LlamaSampler::top_p(p as f32, 1)));
    chain
}

/// The first token with the largest logit, as llama.cpp's greedy sampler takes it.
fn most_likely(logits: &[f32]) -> Option<Drawn> {
    let larger = |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
    let (token, _) = logits.iter().copied().enumerate().reduce(larger)?;
    Some(Drawn { token: i32::try_from(token).ok()?, probability: 0.0 })
}

fn likeliest_logit(candidates: &LlamaTokenDataArray) -> f32 {
    candidates.data.iter().map(LlamaTokenData::logit).fold(f32::NEG_INFINITY, f32::max)
}

fn probabilities(candidates: &LlamaTokenDataArray) -> Vec<Candidate> {
    let max = likeliest_logit(candidates);
    let weight = |token: &LlamaTokenData| f64::from(token.logit() - max).exp();
    let sum: f64 = candidates.data.iter().map(weight).sum();
    let probability = |token: &LlamaTokenData| Candidate {
        token: token.id().0,
        probability: weight(token) / sum,
    };
    candidates.data.iter().map(probability).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_logit_is_taken_as_llama_cpp_takes_it() {
        for logits in [&[0.5, -1.0, 2.0, 2.0, 1.0][..], &[-3.0], &[f32::NEG_INFINITY, -9.0]] {
            let data = (0..)
                .zip(logits)
                .map(|(at, logit)| LlamaTokenData::new(LlamaToken(at), *logit, 0.0));
            let mut all = LlamaTokenDataArray::from_iter(data, false);
            LlamaSampler::greedy().apply(&mut all);
            let expected = all.selected_token().map(|token| token.0);
            assert_eq!(most_likely(logits).map(|drawn| drawn.token), expected);
        }
        assert_eq!(most_likely(&[]), None);
    }
}
