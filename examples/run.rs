//! Runs a benchmark from Rust and records every episode.
#![allow(clippy::print_stdout, unreachable_pub)]
use std::sync::Arc;

use fixfly_policies::Sources;
use fixfly_runtime::{Interrupts, Run, RunOutcome, RunSpec, Silent};
use fixfly_sandboxes::Pool;

/// Runs what the specification says.
pub async fn run(spec: RunSpec) -> anyhow::Result<RunOutcome> {
    let host = fixfly_sandboxes::open(&spec.sandbox, &spec.output.display().to_string())?;
    let benchmark = fixfly_benchmarks::open(&spec, &*host, &|_| ()).await?;
    let selection = spec.select(&*benchmark).await?;
    let policy = fixfly_policies::open(&spec.policy, &benchmark, Sources::of(&spec))?;
    let pool = Arc::new(Pool::new(host, spec.jobs() * selection.sandboxes_per_attempt()));
    let (tools, templates) = (fixfly_tools::all(), spec.templates(selection.kind)?);
    let run = Run { spec, selection, benchmark, policy, tools, host: pool.clone(), templates };
    let outcome = run.execute(&mut Silent, &mut Interrupts::none()).await?;
    pool.drain().await?;
    Ok(outcome)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (benchmark, output) = ("django".into(), "runs/example".into());
    let spec = RunSpec { benchmark, output, limit: Some(3), ..RunSpec::default() };
    let outcome = run(spec).await?;
    println!("{} of {} episodes solved their task", outcome.solved, outcome.recorded);
    Ok(())
}
