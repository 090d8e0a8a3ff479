//! The prices and limits of a model behind a server.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use fixfly_runtime::{Cost, Estimate, Price, RunSpec, Settings, readable, thousands};

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
    /// The number of shards that share the limits of a minute; 0 is as 1.
    pub shards: u32,
}

impl Rates {
    /// Seconds that the rate limits take at least; `None` if there are none.
    pub fn seconds(&self, cost: &Cost) -> Option<f64> {
        let minutes = |count: u64, limit: Option<u32>| Some(count as f64 / f64::from(limit?));
        let requests = minutes(cost.turns, self.requests_per_minute);
        let tokens = minutes(cost.prompt_tokens + cost.completion_tokens, self.tokens_per_minute);
        let minutes = [requests, tokens].into_iter().flatten().reduce(f64::max);
        minutes.map(|minutes| minutes * 60.0 * f64::from(self.shards.max(1)))
    }

    /// What a run is expected to take, as a table with notes.
    pub fn table(&self, spec: &RunSpec, estimate: &Estimate) -> String {
        let price = self.price.as_ref();
        let both = [&estimate.one_turn, &estimate.all_turns];
        let hours = |seconds: Option<f64>| match seconds {
            Some(seconds) => readable(Duration::from_secs_f64(seconds.ceil())),
            None => "unknown".into(),
        };
        let mut rows = vec![("Turns", both.map(|cost| thousands(cost.turns)))];
        if spec.model.is_some() {
            rows.push(("Prompt tokens", both.map(|cost| thousands(cost.prompt_tokens))));
            rows.push(("Completion tokens", both.map(|cost| thousands(cost.completion_tokens))));
            let usd = both.map(|cost| price.map(|price| format!("${:.2}", cost.usd(price))));
            rows.push(("US dollars", usd.map(|usd| usd.unwrap_or("unknown".into()))));
        }
        let jobs = spec.jobs() as f64;
        let tests = both.map(|cost| hours(cost.test_seconds.map(|seconds| seconds / jobs)));
        rows.push(("Test time", tests));
        if spec.model.is_some() {
            let least = both.map(|cost| hours(self.seconds(cost)));
            rows.push(("Model time by rate limits, at least", least));
        }
        let mut grid = Table::new();
        grid.load_style(presets::UTF8_FULL_CONDENSED);
        grid.set_header(["Estimate", "One turn each", "All turns"]);
        for (name, [one, all]) in rows {
            grid.add_row([name.to_string(), one, all]);
        }
        for column in grid.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let notes = spec.model.as_ref().map(|model| self.notes(model, &estimate.all_turns));
        format!(
            "{} tasks, {} episodes, {} at a time\n{}\n\
             Test time assumes that nothing is cached; it excludes the verdict's confirmation.\n{}",
            thousands(estimate.tasks as u64),
            thousands(estimate.episodes),
            spec.jobs(),
            grid.trim_fmt(),
            notes.unwrap_or_default()
        )
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
