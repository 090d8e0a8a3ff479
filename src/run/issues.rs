//! `fixfly run swebench`: flags for issues, and predictions for other graders.

use std::path::Path;

use clap::{Args, value_parser};
use fixfly_benchmarks::swebench::{Grader, prediction};
use fixfly_runtime::{History, Host, IssueSpec, Recording};
use fixfly_tools::{BUNDLES, manual, native_manual};

use crate::flags::{choices, named};
use crate::swebench;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(next_help_heading = "SWE-bench options")]
#[group(skip)]
pub(super) struct Flags {
    #[command(flatten)]
    instances: swebench::Flags,

    #[arg(long, value_name = "BUNDLE", default_value = BUNDLES[0].name, help = choices("Tools available to the agent", BUNDLES))]
    tools: String,

    /// Earlier observations to keep in the prompt: all, the last N (last:5), or the
    /// last that fit into N tokens (tokens:30000)
    #[arg(long, value_name = "HOW", default_value = "all")]
    history: History,

    /// Maximum number of tokens of an episode, prompts and answers together
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    token_limit: Option<u64>,

    /// Time limit of an episode, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..))]
    time_limit: Option<u64>,
}

impl Flags {
    /// Whether a table of instances was given.
    pub(super) fn given(&self) -> bool {
        self.instances.given()
    }

    /// Prepares the selected instances for sandboxes of `host`.
    pub(super) async fn grader(
        &self,
        host: &dyn Host,
        terminal: &Terminal,
    ) -> anyhow::Result<Grader> {
        self.instances.open(self.instances.chosen()?, host, terminal).await
    }

    /// What a run of issues needs.
    pub(super) fn spec(&self, in_words: bool) -> anyhow::Result<IssueSpec> {
        let bundle = named("bundle of tools", BUNDLES, &self.tools)?;
        let specs: Vec<_> = fixfly_tools::ALL
            .iter()
            .filter(|entry| bundle.open.contains(&entry.name))
            .map(|entry| (entry.open)().spec())
            .collect();
        Ok(IssueSpec {
            bundle: self.tools.clone(),
            tools: bundle.open.iter().map(|tool| (*tool).to_string()).collect(),
            manual: if in_words { manual(&specs) } else { native_manual(&specs) },
            history: self.history,
            tokens: self.token_limit,
            seconds: self.time_limit,
        })
    }
}

/// Writes the patches of a run as `preds.json`, which any SWE-bench grader reads,
/// and returns their number.
pub(crate) fn write_predictions(run: &Path, into: &Path, model: &str) -> anyhow::Result<usize> {
    let predictions = prediction::of_run(&Recording::open(run)?, model)?;
    prediction::write(&into.join("preds.json"), &predictions)?;
    Ok(predictions.len())
}
