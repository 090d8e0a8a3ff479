//! `fixfly train llamafactory`: trains with LLaMA-Factory what does not fit here.
//! Writes its files, follows its log, and collects its checkpoints as if fixfly had
//! trained them.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use fixfly_students::cluster::{ClusterFile, Options};
use fixfly_students::{LlamaFactory, Method, Precision, Record, ShareGpt, TrainError, folder_hash};

use super::hyper::Hyper;
use super::progress::Progress;
use super::{DTYPES, named};
use crate::failure::{Interrupted, Usage, of_cluster};
use crate::terminal::{Terminal, print};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly train llamafactory --base models/Qwen3-8B --dataset datasets/v4 -o students/v4
  fixfly train llamafactory --method full --gpus 2 --base models/Qwen3-8B --dataset datasets/v4 -o students/full
  fixfly train llamafactory --gpus 4 --nodes 2 --slurm --base models/Qwen3-32B --dataset datasets/v4 -o students/32b
  sbatch students/32b/llamafactory/train.sbatch
  fixfly train llamafactory --collect --base models/Qwen3-32B --dataset datasets/v4 -o students/32b

The dataset must be in ShareGPT format: fixfly dataset build --format sharegpt. Install
LLaMA-Factory from PyPI: pip install llamafactory==0.9.5, and deepspeed for full fine-tunes.")]
pub(super) struct Flags {
    /// Hugging Face model folder
    #[arg(long, value_name = "DIR")]
    base: PathBuf,

    /// Dataset folder that contains sharegpt/
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,

    /// Output folder; an interrupted training resumes from it
    #[arg(short, long, value_name = "STUDENT")]
    output: PathBuf,

    /// Train an adapter or all weights
    #[arg(long, value_name = "METHOD", default_value = "lora", value_parser = named::<Method>(&["lora", "full"]))]
    method: Method,

    #[command(flatten)]
    hyper: Hyper,

    /// LLaMA-Factory's name of the chat template [default: the one of the dataset]
    #[arg(long, value_name = "NAME", help_heading = "LLaMA-Factory")]
    template: Option<String>,

    /// LLaMA-Factory's program
    #[arg(
        long,
        value_name = "PROGRAM",
        default_value = "llamafactory-cli",
        help_heading = "LLaMA-Factory"
    )]
    program: PathBuf,

    /// Dtype of computation
    #[arg(long, value_name = "DTYPE", default_value = "bf16", value_parser = named::<Precision>(DTYPES), help_heading = "LLaMA-Factory")]
    dtype: Precision,

    /// GPUs per node; 0: the CPU
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "LLaMA-Factory")]
    gpus: usize,

    /// Number of nodes
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "LLaMA-Factory")]
    nodes: usize,

    /// Write LLaMA-Factory's files and a script for sbatch, then exit
    #[arg(long, conflicts_with_all = ["collect", "dry_run"], help_heading = "LLaMA-Factory")]
    slurm: bool,

    /// TOML file whose table `cluster` sets the script's partition, time limit and container
    #[arg(long, value_name = "FILE", requires = "slurm", help_heading = "LLaMA-Factory")]
    cluster: Option<PathBuf>,

    /// Collect the checkpoints written so far, then exit
    #[arg(long, conflicts_with = "dry_run", help_heading = "LLaMA-Factory")]
    collect: bool,

    /// Write LLaMA-Factory's files, then exit
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn train(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let method = flags.method;
    let settings = flags.hyper.settings(method)?;
    if flags.nodes == 0 || (flags.nodes > 1 && !flags.slurm && !flags.collect) {
        return Err(Usage(
            "--nodes needs --slurm; without Slurm, start LLaMA-Factory on each node by hand".into(),
        )
        .into());
    }
    let data = ShareGpt::open(&flags.dataset).map_err(usage)?;
    let base = flags.base.canonicalize();
    let base = base.with_context(|| format!("cannot read {}", flags.base.display()))?;
    let (model, rows) = ((&*base, folder_hash(&base)?), (&*flags.dataset, &*data.hash));
    let record = Record::new("llamafactory", model, rows, flags.dtype, &settings);
    record.keep(&flags.output)?;
    let job = LlamaFactory {
        base,
        output: flags.output.canonicalize()?,
        settings,
        dtype: flags.dtype,
        template: flags.template.clone(),
        program: flags.program.clone(),
        gpus: flags.gpus,
        nodes: flags.nodes,
        slurm: slurm(flags)?,
    };
    if flags.collect {
        return finish(&job, method);
    }
    job.write(&data)?;
    if flags.dry_run || flags.slurm {
        let file = if flags.slurm { job.script() } else { job.settings_file() };
        return print(&format!("{}\n", file.display()));
    }
    follow(&job, terminal)?;
    finish(&job, method)
}

/// What the script for sbatch asks of Slurm, if there is one.
fn slurm(flags: &Flags) -> anyhow::Result<Option<Options>> {
    if !flags.slurm {
        return Ok(None);
    }
    let options = flags.cluster.as_deref().map(ClusterFile::options).transpose();
    Ok(Some(options.map_err(of_cluster)?.unwrap_or_default()))
}

/// Faults of the input are errors of usage.
fn usage(error: TrainError) -> anyhow::Error {
    match error {
        TrainError::Settings(why) | TrainError::Rows(why) => Usage(why).into(),
        error => error.into(),
    }
}

fn follow(job: &LlamaFactory, terminal: &Terminal) -> anyhow::Result<()> {
    let (mut running, stop) =
        (job.start().map_err(usage)?, crate::train::interrupt::listen(terminal)?);
    let mut progress = None;
    loop {
        let ended = running.ended()?;
        for news in running.news() {
            let bar = progress.get_or_insert_with(|| Progress::new(terminal, news.steps, 0));
            if let Some(line) = news.line {
                bar.see(&line);
            }
        }
        if stop.load(Ordering::Relaxed) {
            drop(running);
            return Err(Interrupted(
                "stopped; run the same command again to resume from LLaMA-Factory's last checkpoint".into(),
            )
            .into());
        }
        match ended {
            None => std::thread::sleep(Duration::from_millis(300)),
            Some(status) => {
                progress.iter().for_each(Progress::finish);
                if !status.success() {
                    bail!(
                        "LLaMA-Factory failed with {status}: {}; see {}",
                        running.cause(),
                        running.printed.display()
                    );
                }
                return Ok(());
            }
        }
    }
}

fn finish(job: &LlamaFactory, method: Method) -> anyhow::Result<()> {
    job.collect()?;
    print(&super::after(&job.output, &job.base, method)?)
}
