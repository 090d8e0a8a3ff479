//! One answer as it comes, token by token.

use std::time::Instant;

use fixfly_runtime::{Finish, Sampling, Token};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;

use super::grammar;
use super::protocol::{Refusal, Said, Say};

/// An answer under way.
pub(super) struct Speech {
    sampler: LlamaSampler,
    /// Tokens that may be said.
    most: usize,
    record_tokens: bool,
    asked: Instant,
    first: Option<Instant>,
    prompt_tokens: usize,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    tokens: Vec<Token>,
}

impl Speech {
    /// The answer to a prompt of so many tokens, in a window of so many.
    pub(super) fn new(
        say: &Say,
        model: &LlamaModel,
        prompt_tokens: usize,
        window: usize,
    ) -> Result<Self, Refusal> {
        let room = window.saturating_sub(prompt_tokens);
        if room == 0 {
            return Err(Refusal::TooLong);
        }
        let grammar = grammar::of(&say.form).map_err(Refusal::Form)?;
        let grammar = grammar.map(|text| LlamaSampler::grammar(model, &text, "root"));
        let grammar = grammar.transpose().map_err(|error| Refusal::Form(error.to_string()))?;
        let asked_for = say.sampling.max_tokens.map_or(usize::MAX, |most| most as usize);
        Ok(Speech {
            sampler: LlamaSampler::chain(grammar.into_iter().chain(chain(&say.sampling)), true),
            most: room.min(asked_for),
            record_tokens: say.record_tokens,
            asked: Instant::now(),
            first: None,
            prompt_tokens,
            bytes: Vec::new(),
            ends: Vec::new(),
            tokens: Vec::new(),
        })
    }

    /// Takes the next token, from the row of the batch that asked for it, or
    /// says why it was the last one.
    pub(super) fn hear(
        &mut self,
        model: &LlamaModel,
        context: &LlamaContext<'_>,
        row: i32,
    ) -> Result<LlamaToken, Finish> {
        let token = self.sampler.sample(context, row);
        self.first.get_or_insert_with(Instant::now);
        let done = model.vocab().is_eog(token);
        if !done {
            self.bytes.extend(model.vocab().token_to_piece(token, true, None));
        }
        self.ends.push(self.bytes.len());
        if self.record_tokens {
            let logprob = logprob(context.get_logits_ith(row), token);
            self.tokens.push(Token { id: token.0.cast_unsigned(), logprob });
        }
        match done {
            true => Err(Finish::Stop),
            false if self.ends.len() == self.most => Err(Finish::Length),
            false => Ok(token),
        }
    }

    /// All that was said.
    pub(super) fn said(self, finish: Finish, cached_tokens: usize) -> Said {
        let now = Instant::now();
        let first = self.first.unwrap_or(now);
        let seconds = (now - first).as_secs_f64();
        let later = self.ends.len().saturating_sub(1);
        Said {
            text: text(&self.bytes),
            finish,
            prompt_tokens: self.prompt_tokens as u64,
            cached_tokens: cached_tokens as u64,
            ends: self.ends,
            first_token_ms: u64::try_from((first - self.asked).as_millis()).unwrap_or(u64::MAX),
            tokens_per_second: (later > 0 && seconds > 0.0).then(|| later as f64 / seconds),
            tokens: self.tokens,
        }
    }
}

/// Temperature first, as where the thesis' models were served.
fn chain(sampling: &Sampling) -> Vec<LlamaSampler> {
    let temperature = sampling.temperature.unwrap_or_default();
    if temperature == 0.0 {
        return vec![LlamaSampler::greedy()];
    }
    let mut chain = vec![LlamaSampler::temp(temperature as f32)];
    let top_k = sampling.top_k.map(|k| LlamaSampler::top_k(i32::try_from(k).unwrap_or(i32::MAX)));
    chain.extend(top_k);
    chain.extend(sampling.top_p.map(|p| LlamaSampler::top_p(p as f32, 1)));
    chain.push(LlamaSampler::dist(sampling.seed.unwrap_or_default() as u32));
    chain
}

/// A character may take several tokens; one that was cut off at the end was
/// never said.
fn text(bytes: &[u8]) -> String {
    let whole = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    };
    String::from_utf8_lossy(whole).into_owned()
}

fn logprob(logits: &[f32], token: LlamaToken) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
    let logit = usize::try_from(token.0).ok().and_then(|at| logits.get(at)).copied();
    logit.map_or(f32::NEG_INFINITY, |logit| logit - most - sum.ln() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_may_come_in_parts() {
        let bytes = "naïve 🦟".as_bytes();
        assert_eq!(text(bytes), "naïve 🦟");
        assert_eq!(text(&bytes[..bytes.len() - 1]), "naïve ");
        assert_eq!(text(b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn probabilities_sum_to_one() {
        let logits = [1.0, 2.0, -3.0, 40.0];
        let sum: f32 = (0..4).map(|at| logprob(&logits, LlamaToken(at)).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }
}
