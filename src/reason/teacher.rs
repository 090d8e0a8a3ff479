//! Asks a teacher about many rows in parallel. Each answer is on disk before it is
//! used, so that the same command resumes where the last one ended.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use clap::{Args, value_parser};
use fixfly_policies::{Open, Settings};
use fixfly_runtime::{Completion, Message, Parallel, Policy, PolicyError, Request, sha256};
use fixfly_train::{Answered, Answers, Outcome, Tally, Trace};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::failure::{Interrupted, Usage};
use crate::flags::named;
use crate::machine::cpus;
use crate::run::{Interrupts, episode_seed, model};
use crate::terminal::{Terminal, print};

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

/// A request about a row.
#[async_trait]
pub(super) trait Wanted: Send + Sync {
    /// The row.
    fn row(&self) -> &str;

    /// The prompt's name.
    fn prompt(&self) -> &str;

    /// The messages of the request, given the last rejected answer.
    fn messages(&self, before: Option<&Answered>) -> Vec<Message>;

    /// Judges an answer; an error if the infrastructure failed.
    async fn judge(&self, words: &Completion) -> Result<Outcome, String>;
}

/// Requests, row by row.
pub(super) type Rows<'a> = Box<dyn Iterator<Item = anyhow::Result<Box<dyn Wanted>>> + 'a>;

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

/// The state of asking.
struct Asking {
    policy: Box<dyn Policy>,
    answers: Mutex<Answers>,
    max_attempts: u32,
    seed: u64,
    stopped: AtomicBool,
}

/// How asking ended.
#[derive(Default)]
struct Ended {
    stopped: bool,
    /// Rows that are not done, and why one failed.
    left: usize,
    why: Option<String>,
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
        wanted: Rows<'_>,
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
        let asking = Arc::new(Asking {
            policy,
            answers: Mutex::new(answers),
            max_attempts: self.max_attempts,
            seed: self.seed,
            stopped: AtomicBool::new(false),
        });
        let total = verb.rows.len() - verb.spared.len();
        let ended = runtime.block_on(asking.clone().all(wanted, self.jobs(), total, terminal))?;
        let answers = asking.answers();
        let file = answers.write_traces(
            verb.rows.iter().map(String::as_str),
            verb.earlier,
            &verb.spared,
        )?;
        terminal.status(&format!("traces: {}", file.display()));
        if !ended.stopped {
            print(&table(&answers, &verb, self.max_attempts))?;
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

    fn conclude(&self, ended: &Ended) -> anyhow::Result<()> {
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

impl Asking {
    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn all(
        self: Arc<Self>,
        wanted: Rows<'_>,
        jobs: usize,
        total: usize,
        terminal: &Terminal,
    ) -> anyhow::Result<Ended> {
        let mut interrupts = Interrupts::listen()?;
        let mut rows = Parallel::new(jobs, wanted.map(|wanted| self.clone().row(wanted)));
        let mut ended = Ended::default();
        let bar = Bar::new(terminal, total);
        let mut clock = tokio::time::interval(Duration::from_millis(500));
        let mut done = 0;
        loop {
            tokio::select! {
                row = rows.next() => {
                    let Some(row) = row else { break };
                    match row.context("a row hit a bug in fixfly; please report it")?? {
                        Ok(()) => done += 1,
                        Err(why) => {
                            rows.stop();
                            ended.why.get_or_insert(why);
                        }
                    }
                }
                () = interrupts.next() => match ended.stopped {
                    false => {
                        rows.stop();
                        ended.stopped = true;
                        self.stopped.store(true, Ordering::Relaxed);
                        terminal.status("waiting for running requests; press Ctrl-C again to stop at once");
                    }
                    true => {
                        rows.abort().await;
                    }
                },
                _ = clock.tick() => {}
            }
            bar.show(done, &self.answers().tally);
        }
        bar.finish();
        if ended.stopped || ended.why.is_some() {
            ended.left = total.saturating_sub(done);
        }
        Ok(ended)
    }

    /// Reads a row and asks about it; the inner error stops all.
    async fn row(
        self: Arc<Self>,
        wanted: anyhow::Result<Box<dyn Wanted>>,
    ) -> anyhow::Result<Result<(), String>> {
        let wanted = wanted?;
        Ok(self.about(&*wanted).await)
    }

    /// Asks until there is a trace, or asking again is of no use.
    async fn about(&self, wanted: &dyn Wanted) -> Result<(), String> {
        let row = wanted.row();
        loop {
            let (next, before) = {
                let answers = self.answers();
                (answers.next(row, self.max_attempts), answers.last(row).cloned())
            };
            let Some(attempt) = next else { return Ok(()) };
            if self.stopped.load(Ordering::Relaxed) {
                return Err("interrupted".into());
            }
            let messages = wanted.messages(before.as_ref());
            let answered = self.once(wanted, attempt, &messages).await?;
            self.answers().add(answered).map_err(|e| e.to_string())?;
        }
    }

    async fn once(
        &self,
        wanted: &dyn Wanted,
        attempt: u32,
        messages: &[Message],
    ) -> Result<Answered, String> {
        let row = wanted.row();
        let request = Request {
            messages,
            name: row,
            sample: attempt - 1,
            seed: episode_seed(self.seed, row, attempt),
        };
        let said = serde_json::to_string(messages).unwrap_or_default();
        let prompt_sha256 = sha256(said);
        let mut answered = Answered {
            row: row.into(),
            attempt,
            prompt: wanted.prompt().into(),
            prompt_sha256,
            text: String::new(),
            reasoning: None,
            generation: None,
            usage: Default::default(),
            outcome: Outcome::Rejected { why: String::new(), again: false },
        };
        let never = |why: String| Outcome::Rejected { why, again: false };
        match self.policy.write(request).await {
            Ok(words) => {
                answered.outcome = wanted.judge(&words).await?;
                answered.text = words.text;
                answered.reasoning = words.reasoning;
                answered.usage = words.usage;
                answered.generation = Some(words.generation);
            }
            Err(PolicyError::Infrastructure(why)) => {
                return Err(self.policy.halted().unwrap_or(why));
            }
            Err(PolicyError::Model(why)) => answered.outcome = never(why),
            Err(PolicyError::Spent(_)) => {
                answered.outcome = never("longer than the teacher's context window".into());
            }
        }
        Ok(answered)
    }
}

/// A table of the results.
fn table(answers: &Answers, verb: &Verb<'_>, max_attempts: u32) -> String {
    let Tally { answers: asked, accepted, leaky, leaks, rejected, usage } = &answers.tally;
    let mut dropped = BTreeMap::new();
    for row in verb.rows.iter().filter(|row| answers.next(row, max_attempts).is_none()) {
        if let Some(Answered { outcome: Outcome::Rejected { why, .. }, .. }) = answers.last(row) {
            *dropped.entry(why.as_str()).or_insert(0) += 1;
        }
    }
    let mut text = format!("{:>8}  rows\n", verb.rows.len());
    let mut line = |count: usize, what: &str| {
        let _ = writeln!(text, "{count:>8}  {what}");
    };
    if !verb.spared.is_empty() {
        line(verb.spared.len(), "traces that were already short enough");
    }
    line(*accepted, "traces accepted");
    line(dropped.values().sum(), "rows dropped without an accepted answer");
    for (why, count) in dropped {
        line(count, &format!("  last answer: {why}"));
    }
    line(*asked, "answers");
    for (why, count) in rejected {
        line(*count, &format!("  rejected: {why}"));
    }
    line(*leaky, "traces that mentioned the given solution");
    line(*leaks, "  sentences removed from them");
    let counted = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    line(counted(usage.prompt_tokens), "prompt tokens");
    line(counted(usage.completion_tokens), "completion tokens");
    if let Some(usd) = usage.usd {
        let _ = writeln!(text, "{:>8}  spent", format!("${usd:.4}"));
    }
    text
}

/// The progress bar.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(terminal: &Terminal, total: usize) -> Self {
        Bar(terminal.is_watched().then(|| {
            let style = ProgressStyle::with_template("{bar:20} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            terminal.show(ProgressBar::new(total as u64).with_style(style))
        }))
    }

    fn show(&self, done: usize, tally: &Tally) {
        let Some(bar) = &self.0 else { return };
        bar.set_position(done as u64);
        let total = bar.length().unwrap_or_default();
        let rejected: usize = tally.rejected.values().sum();
        let spent = tally.usage.usd.map_or(String::new(), |usd| format!("  ${usd:.2}"));
        let taken = tally.accepted;
        bar.set_message(format!("{done}/{total}  accepted {taken}  rejected {rejected}{spent}"));
    }

    fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
