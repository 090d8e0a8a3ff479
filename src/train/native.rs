//! `fixfly train lora` and `full`: training in this process.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fixfly_runtime::readable;
use fixfly_students::{
    Checkpoint, Chunks, ComputeConfig, EvalResult, Job, Line, Method, Outcome, Ready, Watch,
    checkpoints,
};

use super::eval::Evaluation;
use super::progress::Progress;
use super::{Native, after, interrupt};
use crate::failure::{Interrupted, Usage};
use crate::terminal::{Terminal, is_error_colored};

/// Rows to show before a training.
const SAMPLES: usize = 3;

pub(super) fn train(flags: &Native, method: Method, terminal: &Terminal) -> anyhow::Result<()> {
    let file = flags.eval.as_deref();
    let trained = (&*flags.base, method);
    let evaluation =
        file.map(|file| Evaluation::open(file, &flags.output, trained, terminal)).transpose()?;
    let ready = job(flags, method)?.ready()?;
    terminal.status_styled(&before(&ready, method)?);
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
        Outcome::Done if left == 0 => terminal.print(&after(&flags.output, &flags.base, method)?),
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
        self.progress.print(&format!("saved {}", checkpoint.folder.display()));
    }

    fn evaluate(&mut self, checkpoint: &Checkpoint) -> Option<EvalResult> {
        let result = self.evaluation.as_ref()?.evaluate(checkpoint);
        if let Err(why) = &result
            && !why.is::<Interrupted>()
        {
            let folder = checkpoint.folder.display();
            self.progress.print(&format!("cannot evaluate {folder}: {why:#}"));
        }
        result.ok()
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
        base_dtype: flags.base_dtype,
        matmul_precision: flags.float32_matmul_precision,
    })
}

/// Samples of rows, and what the training needs.
fn before(ready: &Ready, method: Method) -> anyhow::Result<String> {
    let color = is_error_colored();
    let mut text = String::new();
    for sample in ready.samples(SAMPLES)? {
        text += &sample.text(color);
    }
    text += &ready.plan().text(method, (ready.precision(), ready.matmul_precision()));
    let seconds = Duration::from_secs_f64(ready.seconds()?.clamp(0.0, 1e12));
    let _ = write!(text, "  {} (estimated)", readable(seconds));
    Ok(text)
}
