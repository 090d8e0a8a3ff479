//! What runs cost.

use fixfly_benchmarks::metrics::{mean_interval, spread};

use super::super::cells;
use super::super::groups::{SEED, Set};
use super::{Entry, Filled, header};

pub(super) const ENTRY: Entry = Entry {
    name: "costs",
    title: "tokens, money and time, an episode",
    needs: "runs with episodes",
    fill,
};

fn fill(set: &Set<'_>) -> Filled {
    let rows = set.chosen().into_iter().map(|group| {
        let all = |of: &dyn Fn(&super::super::measured::Attempt) -> f64| -> Vec<f64> {
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
    let columns = [
        "model",
        "tokens read and written",
        "seconds",
        "US dollars, sum",
        "US dollars, a solved task",
        "of",
    ];
    let notes = vec![
        "Dollars are of the episodes whose price is known; 0 tokens: no model was asked, or its \
         server told none."
            .into(),
    ];
    Filled { header: header(&columns), rows: rows.collect(), notes }
}
