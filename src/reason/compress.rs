//! `fixfly reason compress`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, value_parser};
use fixfly_datasets::{Compression, Prompts, Tokens, Trace, TraceRequest, TraceRequests, Traces};
use serde_json::json;

use super::teacher::{self, Verb};
use crate::terminal::Terminal;
use crate::threads::threads;

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

    /// The student's tokenizer.json or GGUF file, which counts tokens
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
    let requests: TraceRequests<'_> = Box::new(long.iter().map(|trace| {
        let request = Compression::new(trace, most, prompts.clone(), tokens.clone());
        Ok(Box::new(request) as Box<dyn TraceRequest>)
    }));
    let runtime = threads()?;
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
    flags.teacher.ask(&runtime, requests, verb, terminal)
}
