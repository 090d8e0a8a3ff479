//! Fixtures for tests.

pub(crate) mod episodes;

use super::labels::Labels;
use super::run_metrics::{Attempt, RunMetrics};

pub(crate) fn attempt(task: &str, solved_at: Option<usize>) -> Attempt {
    let error = |_| "AssertionError".into();
    Attempt {
        task: task.into(),
        sample: 0,
        solved_at,
        turns: 5,
        errors: (1..solved_at.unwrap_or(6)).map(error).collect(),
        unresolved: solved_at.is_none().then(|| "AssertionError".into()),
        reasoning_lengths: Vec::new(),
        reasons: false,
        first_reasoning: None,
        has_method: false,
        method: None,
        judged: None,
        recorded_exact: false,
        tokens: 100,
        seconds: 2.0,
        usd: None,
    }
}

pub(crate) fn run(labels: Labels, split: &str, attempts: Vec<Attempt>) -> RunMetrics {
    RunMetrics {
        run: format!("runs/{}", labels.shown().replace([' ', ','], "-")),
        labels,
        benchmark: "django".into(),
        split: split.into(),
        attempts,
        no_truth: None,
    }
}
