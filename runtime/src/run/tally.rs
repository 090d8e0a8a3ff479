//! What is done of a run, in one line.

use std::time::Duration;

use crate::summary::EpisodeSummary;
use crate::text::{readable, thousands};

/// The counts of a run's episodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunTally {
    /// Episodes of the run.
    pub total: usize,
    /// Episodes that are recorded.
    pub done: usize,
    /// Episodes that were recorded before this process started.
    pub earlier: usize,
    /// Episodes that infrastructure failures ended.
    pub failed: usize,
    /// How many were solved at turn 1, 2, …
    pub solved_at: Vec<usize>,
    /// Prompt and completion tokens.
    pub tokens: u64,
    /// US dollars, as far as prices are known.
    pub usd: f64,
    /// Whether a model's tokens have no known price.
    pub unpriced: bool,
}

impl RunTally {
    /// Counts an episode.
    pub fn count(&mut self, episode: &EpisodeSummary) {
        self.done += 1;
        self.failed += usize::from(episode.infrastructure_failure());
        if let Some(turn) = episode.solved_at() {
            self.solved_at.resize(self.solved_at.len().max(turn), 0);
            self.solved_at[turn - 1] += 1;
        }
        let (tokens, usd) = (episode.tokens(), episode.usd());
        self.tokens += tokens;
        self.usd += usd.unwrap_or_default();
        self.unpriced |= tokens > 0 && usd.is_none();
    }

    /// Episodes that this process recorded.
    pub fn fresh(&self) -> usize {
        self.done - self.earlier
    }

    /// `121/397  2.0/s  ETA 2m 18s  solved 85 of 120 (70.8 %, 62.2 to 78.2)  812,004 tokens
    /// $1.20  @1 60 @3 25`; the interval is a 95 % Wilson interval.
    pub fn line(&self, elapsed: Duration) -> String {
        let mut parts = vec![self.rate(elapsed)];
        parts.extend(self.solved());
        if self.tokens > 0 {
            parts.push(format!("{} tokens", thousands(self.tokens)));
        }
        if self.usd > 0.0 {
            let least = if self.unpriced { "at least " } else { "" };
            parts.push(format!("{least}${:.2}", self.usd));
        }
        if self.failed > 0 {
            parts.push(format!("infrastructure failed {}", self.failed));
        }
        let at = self.solved_at.iter().enumerate().filter(|(_, count)| **count > 0);
        let at: Vec<_> = at.map(|(at, count)| format!("@{} {count}", at + 1)).collect();
        parts.extend((!at.is_empty()).then(|| at.join(" ")));
        parts.join("  ")
    }

    /// `121/397  2.0/s  ETA 2m 18s`, or `397/397` at the end.
    pub fn rate(&self, elapsed: Duration) -> String {
        let mut parts = vec![format!("{}/{}", self.done, self.total)];
        if self.fresh() > 0 && self.done < self.total {
            let rate = self.fresh() as f64 / elapsed.as_secs_f64().max(0.001);
            parts.push(match rate < 0.1 {
                true => format!("{:.1}/min", 60.0 * rate),
                false => format!("{rate:.1}/s"),
            });
            let left = (self.total - self.done) as f64 / rate;
            parts.push(format!("ETA {}", readable(Duration::from_secs_f64(left))));
        }
        parts.join("  ")
    }

    fn solved(&self) -> Option<String> {
        let counted = self.done - self.failed;
        let solved: usize = self.solved_at.iter().sum();
        let (low, high) = wilson(solved, counted)?;
        let percent = 100.0 * solved as f64 / counted as f64;
        let (low, high) = (100.0 * low, 100.0 * high);
        Some(format!("solved {solved} of {counted} ({percent:.1} %, {low:.1} to {high:.1})"))
    }
}

/// An episode in one line: `solved at turn 2  shop/cart.py::Cart.total  3.1 s  1,204 tokens`.
pub fn episode_line(episode: &EpisodeSummary) -> String {
    let end = match episode.solved_at() {
        Some(turn) => format!("solved at turn {turn}"),
        None => format!("{} at turn {}", episode.end.name(), episode.turns.len()),
    };
    let mut line = format!("{end}  {}", episode.task);
    if episode.sample > 0 {
        line += &format!(" (sample {})", episode.sample);
    }
    line += &format!("  {:.1} s", episode.seconds);
    let (tokens, usd) = (episode.tokens(), episode.usd());
    if tokens > 0 {
        line += &format!("  {} tokens", thousands(tokens));
        line += &usd.map_or_else(String::new, |usd| format!("  ${usd:.4}"));
    }
    line
}

/// 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The 95 % Wilson interval of a proportion, each end from 0 to 1; `None` of nothing.
pub fn wilson(count: usize, of: usize) -> Option<(f64, f64)> {
    let (count, of) = (count as f64, (of > 0).then_some(of as f64)?);
    let p = count / of;
    let shrink = 1.0 + Z * Z / of;
    let centre = (p + Z * Z / (2.0 * of)) / shrink;
    let reach = Z / shrink * (p * (1.0 - p) / of + Z * Z / (4.0 * of * of)).sqrt();
    Some(((centre - reach).max(0.0), (centre + reach).min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tally: RunTally, expected: &str) {
        assert_eq!(tally.line(Duration::from_secs(60)), expected);
    }

    #[test]
    fn a_line_shows_progress_results_cost_and_eta() {
        let none = RunTally::default;
        check(RunTally { total: 397, ..none() }, "0/397");
        let some = RunTally { total: 397, done: 121, failed: 1, earlier: 1, ..none() };
        let some = RunTally { solved_at: vec![60, 0, 25], ..some };
        check(
            some.clone(),
            "121/397  2.0/s  ETA 2m 18s  solved 85 of 120 (70.8 %, 62.2 to 78.2)  \
             infrastructure failed 1  @1 60 @3 25",
        );
        check(
            RunTally { tokens: 812_004, usd: 1.204, ..some.clone() },
            "121/397  2.0/s  ETA 2m 18s  solved 85 of 120 (70.8 %, 62.2 to 78.2)  \
             812,004 tokens  $1.20  infrastructure failed 1  @1 60 @3 25",
        );
        let unpriced = RunTally { total: 2, done: 2, tokens: 9, unpriced: true, ..none() };
        check(unpriced.clone(), "2/2  solved 0 of 2 (0.0 %, 0.0 to 65.8)  9 tokens");
        check(
            RunTally { usd: 0.5, ..unpriced },
            "2/2  solved 0 of 2 (0.0 %, 0.0 to 65.8)  9 tokens  at least $0.50",
        );
        check(RunTally { total: 2, done: 2, failed: 2, ..none() }, "2/2  infrastructure failed 2");
        check(
            RunTally { total: 9, done: 3, solved_at: vec![3], ..none() },
            "3/9  3.0/min  ETA 2m 0s  solved 3 of 3 (100.0 %, 43.9 to 100.0)  @1 3",
        );
    }

    #[test]
    fn an_interval_of_nothing_is_unknown() {
        assert_eq!(wilson(0, 0), None);
        // R: prop.test(304, 397, correct = FALSE)$conf.int
        let (low, high) = wilson(304, 397).unwrap();
        assert_eq!(format!("{low:.3} {high:.3}"), "0.722 0.805");
    }
}
