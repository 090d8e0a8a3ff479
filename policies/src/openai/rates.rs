//! The prices and limits of a model behind a server.

use fixfly_runtime::{Cost, Price, Settings, thousands};

/// Tokens of an answer at most, if no flag and no profile has another limit.
const MAX_TOKENS: u64 = 10_000;

/// The prices and limits of a model behind a server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// `None` if the profile has no prices.
    pub price: Option<Price>,
    /// Maximum number of requests per minute.
    pub requests_per_minute: Option<u32>,
    /// Maximum number of tokens per minute.
    pub tokens_per_minute: Option<u32>,
    /// Maximum number of tokens of one answer.
    pub max_tokens: Option<u32>,
}

impl Rates {
    /// Seconds that the rate limits take at least; `None` if there are none.
    pub fn seconds(&self, cost: &Cost) -> Option<f64> {
        let minutes = |count: u64, limit: Option<u32>| Some(count as f64 / f64::from(limit?));
        let requests = minutes(cost.turns, self.requests_per_minute);
        let tokens = minutes(cost.prompt_tokens + cost.completion_tokens, self.tokens_per_minute);
        let minutes = [requests, tokens].into_iter().flatten().reduce(f64::max);
        minutes.map(|minutes| minutes * 60.0)
    }

    /// What an estimate of tokens and dollars assumes, in lines. `all`: the cost of all turns.
    pub fn notes(&self, model: &Settings, all: &Cost) -> String {
        let limit = self.max_tokens.or(model.sampling.max_tokens).map_or(MAX_TOKENS, u64::from);
        let most = all.turns * limit;
        let price = match &self.price {
            Some(price) => format!(", ${:.2}.", price.of(0, 0, most, 0)),
            None => ". The price is unknown: name a profile with prices to have an estimate in \
                     dollars."
                .into(),
        };
        format!(
            "Tokens are estimated at 4 bytes each. Answers are as long as the reference, without \
             reasoning; cached prompt tokens cost the full price.\n\
             The limit is {} completion tokens ({} turns of {} tokens, --max-tokens){price}\n\
             A model behind no rate limit takes as long as its server needs: that is not \
             estimated.\n",
            thousands(most),
            thousands(all.turns),
            thousands(limit)
        )
    }
}
