//! Flags of both subcommands, and the teacher that they ask.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use clap::{Args, value_parser};
use fixfly_datasets::{Answers, AskEnd, AskWatch, Asking, Tally, Trace, TraceRequests};
use fixfly_policies::Open;
use fixfly_runtime::{Interrupts, Policy, Settings};
use serde_json::{Value, json};

use crate::failure::{Interrupted, Usage};
use crate::flags::{cpus, named};
use crate::run::model;
use crate::terminal::{Bar, Terminal, print};

/// Flags of both subcommands.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Flags {
    /// Output folder, for answers.jsonl, traces.jsonl and the journal; an interrupted
    /// command resumes from it
    #[arg(short, long, value_name = "DIR")]
    pub(super) output: PathBuf,

    /// Policy of the teacher: openai or llama
    #[arg(long, default_value = "openai")]
    policy: String,

    /// Folder with prompts that replace the built-in ones, such as minimal.jinja
    #[arg(long, value_name = "DIR")]
    pub(super) prompts: Option<PathBuf>,

    /// Use only the first LIMIT rows
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    limit: Option<u32>,

    /// Maximum number of answers per row, before the row is dropped and counted
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    max_attempts: u32,

    /// Seed, from which the seed of each answer is derived
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Rows in parallel [default: the number of CPUs]
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,

    #[command(flatten)]
    model: model::Flags,
}

/// What a subcommand adds to the record and the table.
pub(super) struct Verb<'a> {
    /// Its part of the record of the folder.
    pub(super) about: Value,
    /// All rows, in their order.
    pub(super) rows: Vec<String>,
    /// Rows whose trace stays unchanged.
    pub(super) spared: HashSet<&'a str>,
    /// The trace that a row had before.
    pub(super) earlier: &'a dyn Fn(&str) -> Option<&'a Trace>,
}

impl Flags {
    /// Maximum number of rows.
    pub(super) fn limit(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit as usize)
    }

    /// Rows in parallel.
    pub(super) fn jobs(&self) -> usize {
        cpus(self.jobs)
    }

    /// Asks about each row that is not done, and prints the results.
    pub(super) fn ask(
        &self,
        runtime: &tokio::runtime::Runtime,
        requests: TraceRequests<'_>,
        verb: Verb<'_>,
        terminal: &Terminal,
    ) -> anyhow::Result<()> {
        let settings = self.model.settings(&self.output, self.jobs());
        let policy = self.policy(&settings)?;
        let mut about = json!({
            "fixfly": env!("CARGO_PKG_VERSION"), "policy": self.policy, "model": settings,
            "tries": self.max_attempts, "seed": self.seed,
        });
        merge(&mut about, &verb.about);
        let answers = Answers::open(&self.output, &about)?;
        let asking = Arc::new(Asking::new(policy, answers, self.max_attempts, self.seed));
        let total = verb.rows.len() - verb.spared.len();
        let ended = runtime.block_on(async {
            let mut watcher = Watcher::new(terminal, total)?;
            let ended = asking.clone().all(requests, self.jobs(), total, &mut watcher).await?;
            watcher.finish();
            anyhow::Ok(ended)
        })?;
        let answers = asking.answers();
        let file = answers.write_traces(
            verb.rows.iter().map(String::as_str),
            verb.earlier,
            &verb.spared,
        )?;
        terminal.status(&format!("traces: {}", file.display()));
        if !ended.stopped {
            print(&answers.table(&verb.rows, verb.spared.len(), self.max_attempts))?;
        }
        self.conclude(&ended)
    }

    fn policy(&self, settings: &Settings) -> anyhow::Result<Box<dyn Policy>> {
        let entry = named("policy", fixfly_policies::ALL, &self.policy)?;
        match entry.open {
            Open::Model(open) => Ok(open(settings).map_err(Usage)?),
            _ => Err(Usage(format!(
                "the policy `{}` does not use a model: use openai or llama",
                self.policy
            ))
            .into()),
        }
    }

    fn conclude(&self, ended: &AskEnd) -> anyhow::Result<()> {
        let folder = self.output.display();
        let again = format!("run the same command again to resume {folder}");
        match (&ended.why, ended.left) {
            (Some(why), left) => anyhow::bail!("stopped with {left} rows left: {why}; {again}"),
            (None, left) if ended.stopped => {
                Err(Interrupted(format!("stopped with {left} rows left; {again}")).into())
            }
            (None, _) => Ok(()),
        }
    }
}

fn merge(about: &mut Value, more: &Value) {
    let (Value::Object(about), Value::Object(more)) = (about, more) else { return };
    about.extend(more.clone());
}

/// The progress bar, and Ctrl-C.
struct Watcher<'a> {
    terminal: &'a Terminal,
    interrupts: Interrupts,
    bar: Option<Bar>,
}

impl<'a> Watcher<'a> {
    fn new(terminal: &'a Terminal, total: usize) -> anyhow::Result<Self> {
        let interrupts = Interrupts::listen()?;
        let bar = terminal.is_watched().then(|| terminal.line_bar(total, 0));
        Ok(Watcher { terminal, interrupts, bar })
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[async_trait]
impl AskWatch for Watcher<'_> {
    async fn interrupted(&mut self) {
        self.interrupts.next().await;
    }

    fn stopping(&mut self) {
        self.terminal.status("waiting for running requests; press Ctrl-C again to stop at once");
    }

    fn progress(&mut self, done: usize, tally: &Tally) {
        let Some(bar) = &self.bar else { return };
        bar.set_position(done as u64);
        let total = bar.length().unwrap_or_default();
        let rejected: usize = tally.rejected.values().sum();
        let spent = tally.usage.usd.map_or(String::new(), |usd| format!("  ${usd:.2}"));
        let taken = tally.accepted;
        bar.set_message(format!("{done}/{total}  accepted {taken}  rejected {rejected}{spent}"));
    }
}
