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
        let mut candidates = self.allowed(context.token_data_array_ith(row));
        self.shape.apply(&mut candidates);
        let drawn = match self.exclusions.is_empty() {
            true => self.free(candidates),
            false => self.restricted(&candidates),
        }?;
        if let Some(grammar) = &mut self.grammar {
            grammar.accept(LlamaToken(drawn.token));
        }
        self.exclusions.advance(drawn.token);
        self.position += 1;
        Some(drawn)
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
