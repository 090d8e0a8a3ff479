//! `fixfly train lora` and `full`: training in this process.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fixfly_students::{
    Checkpoint, Chunks, ComputeConfig, Job, Line, Method, Outcome, Plan, Precision, Ready, Repairs,
    Sample, Watch, bytes_in_words, checkpoints,
};

use super::eval::Evaluation;
use super::progress::Progress;
use super::{Native, after, interrupt};
use crate::failure::{Interrupted, Usage};
use crate::terminal::{Terminal, is_colored, print, readable};

/// Rows to show before a training.
const SAMPLES: usize = 3;

pub(super) fn train(flags: &Native, method: Method, terminal: &Terminal) -> anyhow::Result<()> {
    let file = flags.eval.as_deref();
    let trained = (&*flags.base, method);
    let evaluation =
        file.map(|file| Evaluation::open(file, &flags.output, trained, terminal)).transpose()?;
    let ready = job(flags, method)?.ready()?;
    terminal.status(&before(&ready, method)?);
    if flags.dry_run {
        return Ok(());
    }
    let mut trainer = ready.load()?;
    let stop = interrupt::listen(terminal)?;
    let progress = Progress::new(terminal, trainer.plan().steps, trainer.done());
    let mut watcher = Watcher { progress, evaluation };
    let outcome = trainer.run(&stop, &mut watcher);
    watcher.progress.finish();
    let outcome = outcome?;
    let left = match watcher.evaluation {
        Some(_) => checkpoints(&flags.output)?.iter().filter(|one| one.is_not_evaluated()).count(),
        None => 0,
    };
    match outcome {
        Outcome::Done if left == 0 => print(&after(&flags.output, &flags.base, method)?),
        Outcome::Done if stop.load(Ordering::Relaxed) => Err(Interrupted(
            "training is complete, but stopped before all checkpoints were evaluated; run the same command again to continue"
                .into(),
        )
        .into()),
        Outcome::Done => anyhow::bail!(
            "training is complete, but {left} checkpoints could not be evaluated; run the same command again to retry"
        ),
        Outcome::Stopped(steps) => Err(Interrupted(format!(
            "stopped after step {steps} and saved a checkpoint; run the same command again to resume"
        ))
        .into()),
    }
}

/// Shows the progress of a training, and evaluates its checkpoints.
struct Watcher<'a> {
    progress: Progress,
    evaluation: Option<Evaluation<'a>>,
}

impl Watch for Watcher<'_> {
    fn line(&mut self, line: &Line) {
        self.progress.see(line);
    }

    fn saved(&mut self, checkpoint: &Checkpoint) {
        self.progress.say(&format!("saved {}", checkpoint.folder.display()));
    }

    fn repairs(&mut self, checkpoint: &Checkpoint) -> Option<Repairs> {
        let repairs = self.evaluation.as_ref()?.repairs(checkpoint);
        if let Err(why) = &repairs
            && !why.is::<Interrupted>()
        {
            let folder = checkpoint.folder.display();
            self.progress.say(&format!("cannot evaluate {folder}: {why:#}"));
        }
        repairs.ok()
    }
}

fn job(flags: &Native, method: Method) -> anyhow::Result<Job> {
    if flags.micro_batch_tokens == 0 {
        return Err(Usage("--micro-batch-tokens is 0; it must be at least 1".into()).into());
    }
    let chunks = Chunks {
        queries: flags.attention_chunk as usize,
        no_recompute_layers: flags.no_recompute_layers,
        ..Chunks::default()
    };
    Ok(Job {
        base: flags.base.clone(),
        dataset: flags.dataset.clone(),
        output: flags.output.clone(),
        settings: flags.hyper.settings(method)?,
        means: ComputeConfig {
            micro_batch_tokens: flags.micro_batch_tokens,
            chunks,
            memory: flags.max_memory,
        },
        gpus: flags.gpu.clone(),
        precision: flags.dtype,
    })
}

/// Samples of rows, and what the training needs.
fn before(ready: &Ready, method: Method) -> anyhow::Result<String> {
    let color = is_colored(&std::io::stderr());
    let mut text = String::new();
    for sample in ready.samples(SAMPLES)? {
        text += &shown(&sample, color);
    }
    text += &takes(ready.plan(), method, ready.precision());
    let seconds = Duration::from_secs_f64(ready.seconds()?.clamp(0.0, 1e12));
    let _ = write!(text, "  {} (estimated)", readable(seconds));
    Ok(text)
}

fn takes(plan: &Plan, method: Method, precision: Precision) -> String {
    let dtype = match precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
    };
    let (train, validation) = plan.rows;
    let (tokens, learned) = plan.tokens;
    format!(
        "{}: {} of {} parameters are trained, in {dtype}\n\
         {train} training rows ({tokens} tokens, {learned} with loss; the longest row has {}), {validation} validation rows\n\
         {} steps ({} per epoch)  about {} of memory",
        method.name(),
        grouped(plan.learned),
        grouped(plan.parameters),
        plan.longest,
        plan.steps,
        plan.steps_per_epoch,
        bytes_in_words(plan.memory),
    )
}

/// `30,670,848`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let threes = tail.as_bytes().chunks(3).filter_map(|three| std::str::from_utf8(three).ok());
    let parts: Vec<&str> =
        [head].into_iter().filter(|head| !head.is_empty()).chain(threes).collect();
    parts.join(",")
}

/// Characters to keep at each end of a long piece.
const SIDE: usize = 200;

/// A row as text: tokens with loss are green, or between ⟦ ⟧ without colours.
fn shown(sample: &Sample, color: bool) -> String {
    let mut text = format!("--- {}\n", sample.row);
    for (piece, learned) in &sample.pieces {
        let piece = middle_out(piece);
        text += &match (learned, color) {
            (false, _) => piece,
            (true, true) => format!("\u{1b}[32m{piece}\u{1b}[0m"),
            (true, false) => format!("⟦{piece}⟧"),
        };
    }
    text + "\n"
}

fn middle_out(piece: &str) -> String {
    let count = piece.chars().count();
    if count <= 3 * SIDE {
        return piece.to_string();
    }
    let head: String = piece.chars().take(SIDE).collect();
    let tail: String = piece.chars().skip(count - SIDE).collect();
    format!("{head}\n[… {} characters …]\n{tail}", count - 2 * SIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let all = [0, 12, 123, 1234, 30_670_848].map(grouped);
        assert_eq!(all, ["0", "12", "123", "1,234", "30,670,848"]);
    }

    #[test]
    fn tokens_with_loss_are_marked() {
        let pieces = vec![("<user>fix it".into(), false), ("x".repeat(700), true)];
        let sample = Sample { row: "a".into(), pieces };
        let side = "x".repeat(SIDE);
        let expected = format!("--- a\n<user>fix it⟦{side}\n[… 300 characters …]\n{side}⟧\n");
        assert_eq!(shown(&sample, false), expected);
        assert!(shown(&sample, true).contains("\u{1b}[32mx"));
    }
}
