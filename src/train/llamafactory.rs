//! `fixfly train llamafactory`: trains with LLaMA-Factory what does not fit here.
//! Writes its files, follows its log, and collects its checkpoints as if fixfly had
//! trained them.

mod collect;
mod files;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use fixfly_students::{Line, Method, Precision, Record, Step};
use serde::Deserialize;

use super::hyper::Hyper;
use super::progress::Progress;
use super::{DTYPES, named};
use crate::failure::Usage;
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

    /// Collect the checkpoints written so far, then exit
    #[arg(long, conflicts_with = "dry_run", help_heading = "LLaMA-Factory")]
    collect: bool,

    /// Write LLaMA-Factory's files, then exit
    #[arg(long)]
    dry_run: bool,
}

/// The folders of a training by LLaMA-Factory.
struct Folders {
    output: PathBuf,
}

impl Folders {
    /// The folder of its input.
    fn handed(&self) -> PathBuf {
        self.output.join("llamafactory")
    }

    /// The folder of its output.
    fn made(&self) -> PathBuf {
        self.handed().join("out")
    }

    fn settings(&self) -> PathBuf {
        self.handed().join("train.yaml")
    }
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
    let data = files::Data::open(&flags.dataset)?;
    let base = flags.base.canonicalize();
    let base = base.with_context(|| format!("cannot read {}", flags.base.display()))?;
    let folders = (&*base, &*flags.dataset);
    let record = Record::new("llamafactory", folders, &data.hash, flags.dtype, &settings)?;
    record.keep(&flags.output)?;
    let folders = Folders { output: flags.output.canonicalize()? };
    if flags.collect {
        return finish(&folders, method, &base);
    }
    files::write(&folders, flags, &base, &settings, &data)?;
    if flags.dry_run || flags.slurm {
        let file =
            if flags.slurm { folders.handed().join("train.sbatch") } else { folders.settings() };
        return print(&format!("{}\n", file.display()));
    }
    follow(flags, &folders, terminal)?;
    finish(&folders, method, &base)
}

/// A line of its `trainer_log.jsonl`.
#[derive(Debug, Deserialize)]
struct Said {
    current_steps: usize,
    total_steps: usize,
    loss: Option<f64>,
    eval_loss: Option<f64>,
    lr: Option<f64>,
    epoch: Option<f64>,
    total_tokens: Option<usize>,
}

/// Converts lines of LLaMA-Factory's log to lines of fixfly's.
#[derive(Default)]
struct Reader {
    tokens: usize,
    at: Option<Instant>,
}

impl Reader {
    fn line(&mut self, said: &Said) -> Option<Line> {
        let epoch = said.epoch.unwrap_or(0.0);
        if let Some(loss) = said.eval_loss {
            return Some(Line::Validation { step: said.current_steps, epoch, loss, learned: None });
        }
        let seconds = self.at.replace(Instant::now()).map_or(0.0, |at| at.elapsed().as_secs_f64());
        let all = said.total_tokens.unwrap_or(0);
        let tokens = all.saturating_sub(std::mem::replace(&mut self.tokens, all));
        Some(Line::Step(Step {
            step: said.current_steps,
            epoch,
            loss: said.loss?,
            rate: said.lr.unwrap_or(0.0),
            gradient: None,
            tokens,
            learned: None,
            seconds,
        }))
    }
}

/// Ends LLaMA-Factory and its child processes when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ =
                Command::new("kill").args(["-TERM", "--", &format!("-{}", self.0.id())]).status();
            let _ = self.0.wait();
        }
    }
}

fn follow(flags: &Flags, folders: &Folders, terminal: &Terminal) -> anyhow::Result<()> {
    let said = folders.handed().join("said.txt");
    let file =
        std::fs::File::create(&said).with_context(|| format!("cannot write {}", said.display()))?;
    let mut command = files::command(folders, flags)?;
    command.stdin(Stdio::null());
    command.stdout(file.try_clone()?).stderr(file);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.spawn().map_err(|why| {
        Usage(format!(
            "cannot run {} ({why}): pip install llamafactory==0.9.5, or name the program with --program",
            flags.program.display()
        ))
    })?;
    let (mut running, stop) = (Running(child), crate::train::interrupt::listen(terminal)?);
    let log = folders.made().join("trainer_log.jsonl");
    let (mut read, mut reader, mut progress) = (0, Reader::default(), None);
    loop {
        let ended = running.0.try_wait()?;
        for said in news(&log, &mut read) {
            let bar = progress.get_or_insert_with(|| Progress::new(terminal, said.total_steps, 0));
            if let Some(line) = reader.line(&said) {
                bar.see(&line);
            }
        }
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            drop(running);
            return Err(crate::failure::Interrupted(
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
                        last(&said),
                        said.display()
                    );
                }
                return Ok(());
            }
        }
    }
}

/// The lines of a log since it was last read.
fn news(log: &Path, read: &mut usize) -> Vec<Said> {
    let Ok(file) = std::fs::File::open(log) else { return Vec::new() };
    let lines: Vec<String> =
        BufReader::new(file).lines().map_while(Result::ok).skip(*read).collect();
    // A partial line is read the next time.
    let whole: Vec<Said> = lines.iter().map_while(|line| serde_json::from_str(line).ok()).collect();
    *read += whole.len();
    whole
}

/// The last line of a program's output, as the cause of its failure.
fn last(said: &Path) -> String {
    let text = std::fs::read(said).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line =
        text.lines().rev().find(|line| line.contains("Error")).or_else(|| text.lines().last());
    line.unwrap_or("it printed nothing").trim().to_string()
}

fn finish(folders: &Folders, method: Method, base: &Path) -> anyhow::Result<()> {
    collect::collect(folders)?;
    print(&super::after(&folders.output, base, method)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_followed_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("trainer_log.jsonl");
        let step = r#"{"current_steps": 1, "total_steps": 4, "loss": 2.5, "lr": 1e-05, "epoch": 0.5, "total_tokens": 800}"#;
        std::fs::write(&log, format!("{step}\n{{\"current_steps\": 2, \"tot")).unwrap();
        let (mut read, mut reader) = (0, Reader::default());
        let first = news(&log, &mut read);
        assert_eq!((first.len(), read), (1, 1));
        let Some(Line::Step(line)) = reader.line(&first[0]) else { panic!("no step") };
        assert_eq!((line.step, line.loss, line.tokens), (1, 2.5, 800));
        let eval = r#"{"current_steps": 2, "total_steps": 4, "eval_loss": 2.25, "epoch": 1.0}"#;
        std::fs::write(&log, format!("{step}\n{eval}\n")).unwrap();
        let second = news(&log, &mut read);
        let expected = Line::Validation { step: 2, epoch: 1.0, loss: 2.25, learned: None };
        assert_eq!(reader.line(&second[0]), Some(expected));
    }
}
