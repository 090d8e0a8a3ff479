//! `fixfly run --dry-run`: what a run is expected to take.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use fixfly_policies::Rates;
use fixfly_runtime::{Benchmark, Estimate, RunSpec, Selection, Templates, readable, thousands};

use crate::failure::Usage;

/// Estimates the run and formats the estimate.
pub(super) fn table(
    spec: &RunSpec,
    selection: &Selection,
    benchmark: &dyn Benchmark,
    templates: &Templates,
) -> anyhow::Result<String> {
    let estimate = Estimate::of(spec, selection, benchmark, templates);
    Ok(text(spec, &estimate, &rates(spec)?))
}

/// The prices and rate limits of the model, if its profile has them.
fn rates(spec: &RunSpec) -> Result<Rates, Usage> {
    match &spec.model {
        Some(settings) if spec.policy == "openai" => {
            fixfly_policies::rates(settings).map_err(Usage)
        }
        _ => Ok(Rates::default()),
    }
}

fn text(spec: &RunSpec, estimate: &Estimate, rates: &Rates) -> String {
    let price = rates.price.as_ref();
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
        let least = both.map(|cost| hours(rates.seconds(cost)));
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
    let notes = spec.model.as_ref().map(|model| rates.notes(model, &estimate.all_turns));
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
