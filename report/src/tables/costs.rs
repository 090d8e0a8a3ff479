//! Costs of runs.

use crate::metrics::{mean_interval, spread};

use super::super::cells;
use super::super::groups::{RunSet, SEED};
use super::{Entry, Filled, header};

pub(super) const ENTRY: Entry = Entry {
    name: "costs",
    number: None,
    title: "Tokens, cost and time per episode",
    needs: "runs with episodes",
    fill,
};

fn fill(set: &RunSet<'_>) -> Filled {
    let rows = set.chosen().into_iter().map(|group| {
        let all = |of: &dyn Fn(&super::super::run_metrics::Attempt) -> f64| -> Vec<f64> {
            group.attempts().map(of).collect()
        };
        let seconds = all(&|attempt| attempt.seconds);
        let priced: Vec<f64> = group.attempts().filter_map(|attempt| attempt.usd).collect();
        let solved = group.attempts().filter(|attempt| attempt.solved_at.is_some()).count();
        // The sum of nothing is −0.
        let spent = priced.iter().sum::<f64>() + 0.0;
        let each = (priced.len() == seconds.len() && solved > 0).then(|| spent / solved as f64);
        vec![
            group.labels.shown(),
            cells::whole(&mean_interval(&all(&|attempt| attempt.tokens as f64), SEED)),
            spread(&seconds)
                .map_or(cells::NONE.into(), |s| format!("{:.2} σ {:.2}", s.mean, s.sigma)),
            format!("{spent:.4} of {}", priced.len()),
            each.map_or(cells::NONE.into(), |usd| format!("{usd:.4} of {solved}")),
            format!("{} episodes", seconds.len()),
        ]
    });
    let columns =
        ["Model", "Tokens", "Seconds", "US dollars, total", "US dollars per solved task", "n"];
    let notes = vec![
        "Tokens: input and output, 95 % bootstrap interval; 0 if no model was called or its server \
         did not report usage. Dollars cover the episodes with a known price."
            .into(),
    ];
    Filled { header: header(&columns), rows: rows.collect(), notes }
}
