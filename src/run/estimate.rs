//! `fixfly run --dry-run`: what a run is expected to take.

use fixfly_policies::Rates;
use fixfly_runtime::{Benchmark, Estimate, RunSpec, Selection, Templates};

use crate::failure::Usage;

/// Estimates the run and formats the estimate.
pub(super) fn table(
    spec: &RunSpec,
    selection: &Selection,
    benchmark: &dyn Benchmark,
    templates: &Templates,
) -> anyhow::Result<String> {
    let estimate = Estimate::of(spec, selection, benchmark, templates);
    Ok(rates(spec)?.table(spec, &estimate))
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
