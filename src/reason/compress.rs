//! `fixfly reason compress`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use clap::{Args, value_parser};
use fixfly_datasets::{Answered, Outcome, Prompts, Said, Tokens, Trace, Traces, compressed};
use fixfly_runtime::{Completion, Message};
use serde_json::json;

use super::teacher::{self, Rows, Verb, Wanted};
use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly reason compress traces/v4/traces.jsonl --tokenizer qwen3/tokenizer.json --profile gpt-5-mini --budget 5 -o traces/v4-short
  fixfly dataset build --recipe v4-short-reasoning --traces traces/v4-short/traces.jsonl --tokenizer qwen3/tokenizer.json runs/* -o datasets/v4-short

Traces that are short enough stay unchanged. Run the same command again to resume;
recorded answers are not requested or paid for again.")]
pub(super) struct Flags {
    /// File of traces to shorten, one JSON object per line: {\"row\": ID, \"reasoning\": TEXT}
    #[arg(value_name = "TRACES")]
    traces: PathBuf,

    /// The student's tokenizer.json, which counts tokens
    #[arg(long, value_name = "FILE")]
    tokenizer: PathBuf,

    /// Maximum tokens of a trace
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = value_parser!(u32).range(1..))]
    max_trace_tokens: u32,

    #[command(flatten)]
    teacher: teacher::Flags,
}

pub(super) fn compress(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let traces = Traces::open(&flags.traces)?;
    let tokens = Arc::new(Tokens::open(Some(&flags.tokenizer))?);
    let prompts = Arc::new(Prompts::load(flags.teacher.prompts.as_deref())?);
    let most = flags.max_trace_tokens as usize;
    let all: Vec<&Trace> = traces.iter().take(flags.teacher.limit()).collect();
    let (short, long): (Vec<&Trace>, Vec<&Trace>) =
        all.iter().partition(|trace| tokens.of(trace.reasoning.trim()) <= most);
    let wanted: Rows<'_> = Box::new(long.iter().map(|trace| {
        let (row, reasoning) = (trace.row.clone(), trace.reasoning.clone());
        let (prompts, tokens) = (prompts.clone(), tokens.clone());
        Ok(Box::new(Short { row, reasoning, most, prompts, tokens }) as Box<dyn Wanted>)
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start threads")?;
    let about = json!({
        "verb": "compress",
        "traces_sha256": traces.sha256,
        "prompts": { "compress": prompts.hash("compress") },
        "most_tokens": most,
        "tokenizer": tokens.how(),
    });
    let earlier: HashMap<&str, &Trace> = all.iter().map(|trace| (&*trace.row, *trace)).collect();
    let verb = Verb {
        about,
        rows: all.iter().map(|trace| trace.row.clone()).collect(),
        spared: short.iter().map(|trace| &*trace.row).collect(),
        earlier: &|row| earlier.get(row).copied(),
    };
    flags.teacher.ask(&runtime, wanted, verb, terminal)
}

/// A shorter trace for one row.
struct Short {
    row: String,
    reasoning: String,
    most: usize,
    prompts: Arc<Prompts>,
    tokens: Arc<Tokens>,
}

#[async_trait]
impl Wanted for Short {
    fn row(&self) -> &str {
        &self.row
    }

    fn prompt(&self) -> &str {
        "compress"
    }

    fn messages(&self, before: Option<&Answered>) -> Vec<Message> {
        let before = before.map(|answer| self.tokens.of(answer.text.trim()));
        let before = before.filter(|tokens| *tokens > self.most);
        self.prompts.compress(&self.reasoning, self.most, before)
    }

    async fn judge(&self, words: &Completion) -> Result<Outcome, String> {
        let (text, reasoning) = (words.text.as_str(), words.reasoning.as_deref());
        let said = Said { text, reasoning, finish: words.generation.finish };
        Ok(compressed(said, self.most, &self.tokens))
    }
}
