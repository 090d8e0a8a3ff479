//! Generates one answer, token by token.

use std::time::Instant;

use fixfly_runtime::{Finish, Token};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;

use super::protocol::{Drawn, GenerateRequest, Generated, Refusal};
use super::sampler::Sampler;
use super::schedule::Counts;

/// An answer in progress.
pub(super) struct Generator {
    sampler: Sampler,
    /// Maximum number of tokens to generate.
    max_tokens: usize,
    record_tokens: bool,
    probabilities: bool,
    asked: Instant,
    first: Option<Instant>,
    prompt_tokens: usize,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    tokens: Vec<Token>,
    drawn: Vec<Drawn>,
}

impl Generator {
    /// Starts the answer to a prompt of `prompt_tokens` tokens.
    pub(super) fn new(
        request: &GenerateRequest,
        model: &LlamaModel,
        prompt_tokens: usize,
        context_length: usize,
    ) -> Result<Self, Refusal> {
        let room = context_length.saturating_sub(prompt_tokens);
        if room == 0 {
            return Err(Refusal::TooLong);
        }
        let requested = request.sampling.max_tokens.map_or(usize::MAX, |limit| limit as usize);
        Ok(Generator {
            sampler: Sampler::new(request, model)?,
            max_tokens: room.min(requested),
            record_tokens: request.record_tokens,
            probabilities: request.probabilities,
            asked: Instant::now(),
            first: None,
            prompt_tokens,
            bytes: Vec::new(),
            ends: Vec::new(),
            tokens: Vec::new(),
            drawn: Vec::new(),
        })
    }

    /// Samples the next token from this row of the batch. Returns `Err` with the
    /// reason if it was the last one.
    pub(super) fn next_token(
        &mut self,
        model: &LlamaModel,
        context: &LlamaContext<'_>,
        row: i32,
    ) -> Result<LlamaToken, Finish> {
        let drawn = self.sampler.next(context, row).ok_or(Finish::Stop)?;
        let token = LlamaToken(drawn.token);
        self.first.get_or_insert_with(Instant::now);
        let done = model.vocab().is_eog(token);
        if !done {
            self.bytes.extend(model.vocab().token_to_piece(token, true, None));
        }
        self.ends.push(self.bytes.len());
        if self.probabilities {
            self.drawn.push(drawn);
        }
        if self.record_tokens {
            let logprob = logprob(context.get_logits_ith(row), token);
            self.tokens.push(Token { id: token.0.cast_unsigned(), logprob });
        }
        match done {
            true => Err(Finish::Stop),
            false if self.ends.len() == self.max_tokens => Err(Finish::Length),
            false => Ok(token),
        }
    }

    /// Ends the answer and returns it.
    pub(super) fn finish(self, finish: Finish, counts: Counts) -> Generated {
        let now = Instant::now();
        let first = self.first.unwrap_or(now);
        let seconds = (now - first).as_secs_f64();
        let later = self.ends.len().saturating_sub(1);
        Generated {
            text: text(&self.bytes),
            finish,
            prompt_tokens: self.prompt_tokens as u64,
            cached_tokens: counts.cached as u64,
            drafted_tokens: counts.drafted as u64,
            accepted_tokens: counts.accepted as u64,
            ends: self.ends,
            first_token_ms: u64::try_from((first - self.asked).as_millis()).unwrap_or(u64::MAX),
            tokens_per_second: (later > 0 && seconds > 0.0).then(|| later as f64 / seconds),
            tokens: self.tokens,
            drawn: self.drawn,
        }
    }
}

/// Decodes UTF-8. A character can take several tokens; an incomplete one at the end
/// is dropped.
fn text(bytes: &[u8]) -> String {
    let whole = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    };
    String::from_utf8_lossy(whole).into_owned()
}

fn logprob(logits: &[f32], token: LlamaToken) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - max).exp()).sum();
    let logit = usize::try_from(token.0).ok().and_then(|at| logits.get(at)).copied();
    logit.map_or(f32::NEG_INFINITY, |logit| logit - max - sum.ln() as f32)
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
