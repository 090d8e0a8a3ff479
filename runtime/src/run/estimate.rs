//! Estimates the cost of a run before it starts.

use serde::{Deserialize, Serialize};

use super::select::Selection;
use super::spec::RunSpec;
use crate::benchmark::{Answer, Benchmark};
use crate::templates::Templates;

/// Bytes per token, roughly: source code and English have 3 to 4.5.
const BYTES_PER_TOKEN: u64 = 4;
/// Tokens of the feedback after a failing turn, roughly. Tracebacks are truncated.
const FEEDBACK: u64 = 600;

/// US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Prompt tokens.
    pub input: f64,
    /// Prompt tokens from the server's cache; the price of `input` if `None`.
    pub cached: Option<f64>,
    /// Completion tokens.
    pub output: f64,
    /// Completion tokens of reasoning; the price of `output` if `None`.
    pub reasoning: Option<f64>,
}

impl Price {
    /// The price of these tokens in US dollars.
    pub fn of(&self, prompt: u64, cached: u64, completion: u64, reasoning: u64) -> f64 {
        let cached = cached.min(prompt);
        let reasoning = reasoning.min(completion);
        let input = (prompt - cached) as f64 * self.input
            + cached as f64 * self.cached.unwrap_or(self.input);
        let output = (completion - reasoning) as f64 * self.output
            + reasoning as f64 * self.reasoning.unwrap_or(self.output);
        (input + output) / 1e6
    }
}

/// An estimate of tokens, money and test time. It assumes 4 bytes per token and answers as
/// long as the reference, without reasoning.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// The number of tasks.
    pub tasks: usize,
    /// The number of episodes: tasks times samples.
    pub episodes: u64,
    /// The cost if every episode ends in its first turn.
    pub one_turn: Cost,
    /// The cost if every episode uses all of its turns.
    pub all_turns: Cost,
}

/// The cost of a number of turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Turns of all episodes.
    pub turns: u64,
    /// Prompt tokens, cached ones included.
    pub prompt_tokens: u64,
    /// Completion tokens.
    pub completion_tokens: u64,
    /// CPU seconds of tests; `None` if the benchmark has no measurement.
    pub test_seconds: Option<f64>,
}

impl Cost {
    /// US dollars if no prompt is cached.
    pub fn usd(&self, price: &Price) -> f64 {
        price.of(self.prompt_tokens, 0, self.completion_tokens, 0)
    }

    fn add(&mut self, other: Cost, samples: u64) {
        self.turns += other.turns * samples;
        self.prompt_tokens += other.prompt_tokens * samples;
        self.completion_tokens += other.completion_tokens * samples;
        let both = self.test_seconds.zip(other.test_seconds);
        self.test_seconds = both.map(|(sum, more)| sum + more * samples as f64);
    }
}

impl Estimate {
    /// Estimates a run from its tasks, its prompts and the benchmark's facts. Calls no
    /// model and opens no sandbox.
    pub fn of(
        spec: &RunSpec,
        selection: &Selection,
        benchmark: &dyn Benchmark,
        templates: &Templates,
    ) -> Estimate {
        let samples = u64::from(spec.samples);
        let known = Cost { test_seconds: Some(0.0), ..Cost::default() };
        let mut estimate = Estimate {
            tasks: selection.tasks.len(),
            episodes: selection.tasks.len() as u64 * samples,
            one_turn: known,
            all_turns: known,
        };
        for task in &selection.tasks {
            let conversation = task.statement.messages(&[], templates);
            let bytes: usize = conversation.iter().map(|message| message.content.len()).sum();
            let prompt = bytes as u64 / BYTES_PER_TOKEN;
            let answer = benchmark.ground_truth().answer(task, Answer::Truth);
            let answer = answer.map_or(0, |text| text.len() as u64 / BYTES_PER_TOKEN);
            let seconds = benchmark.test_seconds(task);
            let turns = u64::from(task.budget.turns);
            let cost = |turns: u64| Cost {
                turns,
                // Each prompt includes the answers and the feedback of the turns before.
                prompt_tokens: turns * prompt
                    + turns * turns.saturating_sub(1) / 2 * (answer + FEEDBACK),
                completion_tokens: turns * answer,
                test_seconds: seconds.map(|seconds| seconds * turns as f64),
            };
            estimate.one_turn.add(cost(turns.min(1)), samples);
            estimate.all_turns.add(cost(turns), samples);
        }
        estimate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_tells_cached_and_reasoning_tokens_apart() {
        let price = Price { input: 2.0, cached: Some(0.5), output: 8.0, reasoning: Some(4.0) };
        assert_eq!(price.of(1_000_000, 500_000, 1_000_000, 250_000), 1.0 + 0.25 + 6.0 + 1.0);
        let price = Price { cached: None, reasoning: None, ..price };
        assert_eq!(price.of(1_000_000, 500_000, 1_000_000, 250_000), 10.0);
    }
}
