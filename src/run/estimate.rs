//! `fixfly run --dry-run`: what a run is expected to take.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use fixfly_policies::Rates;
use fixfly_runtime::{Benchmark, Estimate, RunSpec, Selection, Templates, readable, thousands};

use crate::failure::Usage;

/// Tokens of an answer at most, if no flag and no profile has another limit.
const MAX_TOKENS: u64 = 10_000;

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
    format!(
        "{} tasks, {} episodes, {} at a time\n{}\n{}",
        thousands(estimate.tasks as u64),
        thousands(estimate.episodes),
        spec.jobs(),
        grid.trim_fmt(),
        notes(spec, estimate, rates)
    )
}

/// What the estimate leaves out.
fn notes(spec: &RunSpec, estimate: &Estimate, rates: &Rates) -> String {
    let mut notes =
        "Test time assumes that nothing is cached; it excludes the verdict's confirmation.\n"
            .to_string();
    let Some(model) = &spec.model else { return notes };
    notes += "Tokens are estimated at 4 bytes each. Answers are as long as the reference, without \
              reasoning; cached prompt tokens cost the full price.\n";
    let limit = rates.max_tokens.or(model.sampling.max_tokens).map_or(MAX_TOKENS, u64::from);
    let most = estimate.all_turns.turns * limit;
    notes += &format!(
        "The limit is {} completion tokens ({} turns of {} tokens, --max-tokens)",
        thousands(most),
        thousands(estimate.all_turns.turns),
        thousands(limit)
    );
    notes += &match &rates.price {
        Some(price) => format!(", ${:.2}.\n", price.of(0, 0, most, 0)),
        None => {
            ". The price is unknown: name a profile with prices to have an estimate in dollars.\n"
                .into()
        }
    };
    notes
        + "A model behind no rate limit takes as long as its server needs: that is not estimated.\n"
}
