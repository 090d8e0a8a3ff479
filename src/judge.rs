//! `fixfly judge`: judges candidates for another program.

use std::io::{BufReader, stdin};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, value_parser};
use fixfly_benchmarks::find_methods;
use fixfly_runtime::{Interrupts, Judge, JudgeCounts, JudgeError, JudgeOptions, RunSpec, Split};
use fixfly_sandboxes::Pool;

use crate::failure::{Interrupted, Usage};
use crate::flags::{choices, cpus, split};
use crate::run;
use crate::sandbox::ensure_image;
use crate::swebench::opening;
use crate::terminal::{Terminal, print_if_read};
use crate::threads::on_threads;

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly judge django --stdio < candidates.jsonl > verdicts.jsonl
  fixfly judge django --stdio --split train --ordered < candidates.jsonl

A line of input: {\"task\": \"django/utils/text.py::Truncator.chars\", \"candidate\": CODE}.
`fixfly schema judge` prints the form of the lines, and docs/judge.md explains them.")]
pub(crate) struct Flags {
    /// Benchmark whose methods the candidates are for
    #[arg(value_name = "BENCHMARK")]
    benchmark: String,

    /// Read a line of JSON per candidate from standard input, and print one line for each
    #[arg(long, required = true)]
    stdio: bool,

    /// Accept only tasks of this split: train, validation or benchmark [default: all splits]
    #[arg(long, value_parser = split)]
    split: Option<Split>,

    /// Number of candidates to judge in parallel [default: number of CPUs]
    #[arg(short, long, value_parser = value_parser!(u32).range(1..=4096))]
    jobs: Option<u32>,

    /// Print the answers in the order of the lines, not as soon as each is ready
    #[arg(long)]
    ordered: bool,

    /// Confirm every candidate as `fixfly run` confirms a pass: in a fresh process, with the
    /// sabotage control and hidden tests [default: only those that pass their tests]
    #[arg(long)]
    confirm: bool,

    #[arg(long, default_value = "local", help = choices("Sandbox to run candidates in", fixfly_sandboxes::ALL))]
    sandbox: String,

    /// Judge even if the sandbox cannot provide every required protection on this
    /// machine. See `fixfly sandbox doctor`
    #[arg(long, env = "FIXFLY_ALLOW_WEAK", hide_env_values = true)]
    allow_weak: bool,

    /// Benchmark directory, if not the default
    #[arg(long, value_name = "DIR")]
    benchmark_dir: Option<PathBuf>,
}

pub(crate) fn judge(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    find_methods(&flags.benchmark, "judge patches with `fixfly grade swebench`")
        .map_err(opening)?;
    let counts = on_threads(serve(flags, terminal))?;
    match counts.stopped {
        true => Err(Interrupted(format!("stopped: {counts}")).into()),
        false if !counts.is_complete() => anyhow::bail!("not every line has a verdict: {counts}"),
        false => {
            terminal.status(&counts.to_string());
            Ok(())
        }
    }
}

async fn serve(flags: &Flags, terminal: &Terminal) -> anyhow::Result<JudgeCounts> {
    let Flags { benchmark, sandbox, benchmark_dir, split, ordered, confirm, allow_weak, .. } =
        flags.clone();
    let jobs = cpus(flags.jobs);
    let output = "judge".into();
    let spec = RunSpec { benchmark, benchmark_dir, sandbox, output, ..RunSpec::default() };
    let host = run::host(&spec)?;
    let benchmark = run::open(&spec, &*host, terminal).await?;
    let pool = Arc::new(Pool::new(host, jobs));
    let sandbox = spec.sandbox.clone();
    let options = JudgeOptions { sandbox, split, jobs, ordered, confirm, allow_weak };
    let judge = Judge::open(benchmark, pool.clone(), options).await.map_err(|why| match why {
        JudgeError::Unprotected(why) => Usage(why.to_string()).into(),
        why => anyhow::Error::from(why),
    })?;
    ensure_image((&spec.sandbox, &[]), &judge.sandboxes().collect::<Vec<_>>(), terminal).await?;
    let mut interrupts = Interrupts::listen().context("cannot listen for Ctrl-C")?;
    let input = BufReader::new(stdin());
    let counts = judge.serve_lines(input, print_if_read, &mut interrupts).await?;
    pool.drain().await?;
    Ok(counts)
}
