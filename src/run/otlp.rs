//! `fixfly run --otlp`: the spans of a run.

use clap::Args;
use fixfly_runtime::{ExecuteError, Interrupts, Observer, Run, RunOutcome};

use crate::built::{Feature, require};

#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
#[command(next_help_heading = "OpenTelemetry options")]
pub(crate) struct Flags {
    /// Send spans of the run, its episodes, turns, model and tool calls to the OpenTelemetry
    /// collector at this address (OTLP over HTTP, port 4318). Nothing that a model or a
    /// tool wrote is sent
    #[arg(long = "otlp", value_name = "URL")]
    url: Option<String>,

    /// Send what models and tools wrote, too
    #[arg(long = "otlp-content", requires = "url")]
    content: bool,
}

pub(super) async fn execute(
    flags: &Flags,
    run: Run,
    mut progress: impl Observer,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Result<RunOutcome, ExecuteError>> {
    if flags.url.is_some() || flags.content {
        require(&[Feature::Otlp])?;
    }
    #[cfg(feature = "otlp")]
    if let Some(url) = flags.url.clone() {
        let otlp = fixfly_report::Otlp { url, content: flags.content };
        let outcome = otlp.execute(run, progress, interrupts).await;
        return outcome.map_err(|why| crate::failure::Usage(why.to_string()).into());
    }
    Ok(run.execute(&mut progress, interrupts).await)
}
