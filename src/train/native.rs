//! `fixfly train lora` and `full`: training in this process.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fixfly_train::student::{
    Checkpoint, Chunks, ComputeConfig, Job, Line, Outcome, Plan, Ready, Repairs, Sample, Watch,
    bytes_in_words, checkpoints,
};
use fixfly_train::{Method, Precision};

use super::progress::Progress;
use super::repairs::Tries;
use super::{Native, after, interrupt};
use crate::failure::{Interrupted, Usage};
use crate::terminal::{Terminal, is_colored, print, readable};

/// Rows that are shown before a training begins.
const SAMPLES: usize = 3;

pub(super) fn train(flags: &Native, method: Method, terminal: &Terminal) -> anyhow::Result<()> {
    let tries = flags.repairs.as_deref();
    let trained = (&*flags.base, method);
    let tries =
        tries.map(|file| Tries::open(file, &flags.output, trained, terminal)).transpose()?;
    let ready = job(flags, method)?.ready()?;
    terminal.say(&before(&ready, method)?);
    if flags.dry_run {
        return Ok(());
    }
    let mut trainer = ready.load()?;
    let stop = interrupt::listen(terminal)?;
    let progress = Progress::new(terminal, trainer.plan().steps, trainer.done());
    let mut watcher = Watcher { progress, tries };
    let outcome = trainer.run(&stop, &mut watcher);
    watcher.progress.finish();
    let outcome = outcome?;
    let left = match watcher.tries {
        Some(_) => checkpoints(&flags.output)?.iter().filter(|one| one.is_untried()).count(),
        None => 0,
    };
    match outcome {
        Outcome::Done if left == 0 => print(&after(&flags.output, &flags.base, method)?),
        Outcome::Done if stop.load(Ordering::Relaxed) => Err(Interrupted(
            "all steps are taken; stopped before all checkpoints were tried; the same command goes on"
                .into(),
        )
        .into()),
        Outcome::Done => anyhow::bail!(
            "all steps are taken, and {left} checkpoints could not be tried; the same command tries them again"
        ),
        Outcome::Stopped(steps) => Err(Interrupted(format!(
            "stopped after step {steps} and saved; the same command goes on"
        ))
        .into()),
    }
}

/// Shows a training, and tries its students.
struct Watcher<'a> {
    progress: Progress,
    tries: Option<Tries<'a>>,
}

impl Watch for Watcher<'_> {
    fn line(&mut self, line: &Line) {
        self.progress.see(line);
    }

    fn saved(&mut self, checkpoint: &Checkpoint) {
        self.progress.say(&format!("saved {}", checkpoint.folder.display()));
    }

    fn repairs(&mut self, checkpoint: &Checkpoint) -> Option<Repairs> {
        let repairs = self.tries.as_ref()?.repairs(checkpoint);
        if let Err(why) = &repairs
            && !why.is::<Interrupted>()
        {
            let folder = checkpoint.folder.display();
            self.progress.say(&format!("{folder} could not be tried: {why:#}"));
        }
        repairs.ok()
    }
}

fn job(flags: &Native, method: Method) -> anyhow::Result<Job> {
    if flags.pass_tokens == 0 {
        return Err(Usage("--pass-tokens is 0; it must be at least 1".into()).into());
    }
    let chunks = Chunks {
        queries: flags.chunk as usize,
        kept_layers: flags.kept_layers,
        ..Chunks::default()
    };
    Ok(Job {
        base: flags.base.clone(),
        dataset: flags.dataset.clone(),
        output: flags.output.clone(),
        settings: flags.hyper.settings(method)?,
        means: ComputeConfig { pass_tokens: flags.pass_tokens, chunks, memory: flags.memory },
        gpus: flags.gpu.clone(),
        precision: flags.precision,
    })
}

/// What it will take, and what the student will see.
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
    let numbers = match precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
    };
    let (train, validation) = plan.rows;
    let (tokens, learned) = plan.tokens;
    format!(
        "{}: {} of {} parameters are learned, in {numbers}\n\
         {train} rows to learn from ({tokens} tokens, {learned} of them learned; the longest row {}), {validation} to choose by\n\
         {} steps ({} an epoch)  about {} of memory",
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

/// Characters at each side of what is left out of a long piece.
const SIDE: usize = 200;

/// A row: what is learned is green, or between ⟦ ⟧ where there are no colours.
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
    fn what_is_learned_is_marked() {
        let pieces = vec![("<user>fix it".into(), false), ("x".repeat(700), true)];
        let sample = Sample { row: "a".into(), pieces };
        let side = "x".repeat(SIDE);
        let expected = format!("--- a\n<user>fix it⟦{side}\n[… 300 characters …]\n{side}⟧\n");
        assert_eq!(shown(&sample, false), expected);
        assert!(shown(&sample, true).contains("\u{1b}[32mx"));
    }
}
