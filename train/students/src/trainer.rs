//! The training loop: the order of rows, the steps, and the checkpoints.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::base_model::Base;
use crate::chance;
use crate::checkpoint::{Checkpoint, EvalResult, Facts, checkpoints};
use crate::copies::Copies;
use crate::error::TrainError;
use crate::export;
use crate::job::Job;
use crate::line::{Line, Step};
use crate::log::Log;
use crate::ops::Dropout;
use crate::optimiser::{AdamW, clipped};
use crate::pass::Pass;
use crate::plan::Plan;
use crate::rows::Rows;
use crate::save;
use crate::settings::{Method, Settings};

/// An observer of a training.
pub trait Watch {
    /// Called for each line of the log.
    fn line(&mut self, line: &Line);

    /// Called after a checkpoint is written.
    fn saved(&mut self, _checkpoint: &Checkpoint) {}

    /// Evaluates a checkpoint on tasks. `None` if there is no evaluation, or if it
    /// failed; a failed one is repeated at the end of the training, or when the
    /// training resumes.
    fn evaluate(&mut self, _checkpoint: &Checkpoint) -> Option<EvalResult> {
        None
    }
}

impl<F: FnMut(&Line)> Watch for F {
    fn line(&mut self, line: &Line) {
        self(line);
    }
}

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All steps were taken.
    Done,
    /// The user stopped it after this many steps; the same job resumes from there.
    Stopped(usize),
}

/// The file of a checkpoint with the trained parameters.
pub(crate) fn learned_file(method: Method) -> &'static str {
    match method {
        Method::Lora => "adapter_model.safetensors",
        Method::Full => "model.safetensors",
    }
}

/// The order of the rows in an epoch.
pub(crate) fn order(rows: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    chance::shuffle(&mut order, chance::key(&[seed, 0xE, epoch as u64]));
    order
}

/// A training with its model loaded.
pub struct Trainer {
    job: Job,
    base: Base,
    rows: Rows,
    copies: Copies,
    optimiser: AdamW,
    plan: Plan,
    done: usize,
    saved: usize,
    /// Held, but never read.
    _lock: File,
}

/// Sums over the steps of an epoch.
#[derive(Default)]
struct Sum {
    loss: f64,
    learned: usize,
}

impl Sum {
    fn add(&mut self, line: &Line, after: usize) {
        if let Line::Step(step) = line
            && step.step > after
        {
            let learned = step.learned.unwrap_or(0);
            self.loss += step.loss * learned as f64;
            self.learned += learned;
        }
    }

    fn mean(self) -> Option<f64> {
        (self.learned > 0).then(|| self.loss / self.learned as f64)
    }
}

/// The receivers of a training's events: the log and the observer.
struct Events<'a> {
    log: Log,
    folder: PathBuf,
    stop: &'a AtomicBool,
    watch: &'a mut dyn Watch,
}

impl Events<'_> {
    fn line(&mut self, line: &Line) -> Result<(), TrainError> {
        let file = self.folder.join("log.jsonl");
        self.log.write(line).map_err(TrainError::io("write", &file))?;
        self.watch.line(line);
        Ok(())
    }

    /// Evaluates a checkpoint.
    fn evaluate(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let Some(epoch) = checkpoint.facts.epoch else { return Ok(()) };
        if self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Some(result) = self.watch.evaluate(checkpoint) else { return Ok(()) };
        let step = checkpoint.facts.step;
        result.keep(&self.folder, step)?;
        self.line(&Line::Eval { step, epoch: epoch as f64, result })
    }

    /// Evaluates all checkpoints that have no evaluation yet.
    fn evaluate_rest(&mut self) -> Result<(), TrainError> {
        let all = checkpoints(&self.folder)?;
        all.iter().filter(|one| one.is_not_evaluated()).try_for_each(|one| self.evaluate(one))
    }
}

impl Trainer {
    /// A training that has taken `done` steps, in a folder that this lock holds.
    pub(crate) fn new(
        job: Job,
        base: Base,
        rows: Rows,
        (copies, optimiser): (Copies, AdamW),
        plan: Plan,
        (done, lock): (usize, File),
    ) -> Trainer {
        Trainer { job, base, rows, copies, optimiser, plan, done, saved: done, _lock: lock }
    }

    /// The estimated cost.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Steps so far.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Trains to the end, or until `stop` is set; reports to `watch`.
    ///
    /// # Errors
    /// [`TrainError`]; existing checkpoints stay.
    pub fn run(&mut self, stop: &AtomicBool, watch: &mut dyn Watch) -> Result<Outcome, TrainError> {
        let folder = self.job.output.clone();
        let (log, kept) = Log::open(&folder, self.done)?;
        let mut events = Events { log, folder, stop, watch };
        events.evaluate_rest()?;
        let begun = self.done / self.plan.steps_per_epoch * self.plan.steps_per_epoch;
        let mut sum = Sum::default();
        kept.iter().for_each(|line| sum.add(line, begun));
        while self.done < self.plan.steps {
            if stop.load(Ordering::Relaxed) {
                if self.saved != self.done {
                    self.save(None, None, None)?;
                }
                return Ok(Outcome::Stopped(self.done));
            }
            let line = Line::Step(self.step()?);
            sum.add(&line, begun);
            events.line(&line)?;
            if self.done.is_multiple_of(self.plan.steps_per_epoch) {
                let epoch = self.done / self.plan.steps_per_epoch;
                let validation = self.validate(epoch)?;
                validation.iter().try_for_each(|line| events.line(line))?;
                let loss = std::mem::take(&mut sum).mean();
                let checkpoint = self.save(Some(epoch), loss, validation)?;
                events.watch.saved(&checkpoint);
                events.evaluate(&checkpoint)?;
            }
        }
        events.evaluate_rest()?;
        Ok(Outcome::Done)
    }

    /// The rows of the next step.
    fn next(&self) -> Vec<usize> {
        let (epoch, within) =
            (self.done / self.plan.steps_per_epoch, self.done % self.plan.steps_per_epoch);
        let order = order(self.rows.train.len(), self.job.settings.seed, epoch);
        let size = self.job.settings.rows_per_step();
        let from = within * size;
        order[from..order.len().min(from + size)].to_vec()
    }

    /// The dropout of this step.
    fn dropout(&self, pass: &Pass, rows: &[usize]) -> Dropout {
        let Settings { method, dropout, seed, .. } = self.job.settings;
        if method == Method::Full || dropout == 0.0 {
            return Dropout::none();
        }
        let key = |which: usize| chance::key(&[seed, 0xD, self.done as u64, rows[which] as u64]);
        let rows = pass.which.iter().zip(&pass.rows).map(|(at, row)| (key(*at), row.length));
        Dropout { rate: dropout, rows: rows.collect() }
    }

    fn step(&mut self) -> Result<Step, TrainError> {
        let clock = Instant::now();
        let which = self.next();
        let rows = which.iter().map(|at| &self.rows.train[*at]);
        let tokens = rows.clone().map(|row| row.tokens.len()).sum::<usize>();
        // A single micro-batch would keep only one device busy.
        let most = self.job.means.micro_batch_tokens.min(tokens.div_ceil(self.copies.count()));
        let with_dropout = |pass| {
            let dropout = self.dropout(&pass, &which);
            (pass, dropout)
        };
        let passes: Vec<_> = Pass::pack(rows, most).into_iter().map(with_dropout).collect();
        let learned: usize = passes.iter().map(|(pass, _)| pass.targets.len()).sum();
        let (loss, grads) = self.copies.learn(&passes, 1.0 / learned as f64)?;
        let loss = loss / learned as f64;
        let gradient = grads.norm()?;
        for (what, value) in [("loss", loss), ("gradient", gradient)] {
            if !value.is_finite() {
                return Err(TrainError::Diverged { what, step: self.done + 1, value });
            }
        }
        let settings = &self.job.settings;
        let rate = settings.rate(self.done, self.plan.steps);
        let scale = clipped(gradient, settings.max_grad_norm);
        self.optimiser.step(&mut self.copies.first.params, &grads, scale, rate, settings)?;
        self.copies.follow()?;
        self.done += 1;
        Ok(Step {
            step: self.done,
            epoch: self.done as f64 / self.plan.steps_per_epoch as f64,
            loss,
            rate,
            gradient: Some(gradient),
            tokens,
            learned: Some(learned),
            seconds: clock.elapsed().as_secs_f64(),
        })
    }

    /// The validation loss; `None` without validation rows.
    fn validate(&self, epoch: usize) -> Result<Option<Line>, TrainError> {
        let (mut total, mut learned) = (0.0, 0);
        for pass in Pass::pack(&self.rows.validation, self.job.means.micro_batch_tokens) {
            total += self.copies.first.loss(&pass)?;
            learned += pass.targets.len();
        }
        if learned == 0 {
            return Ok(None);
        }
        let (step, epoch, loss) = (self.done, epoch as f64, total / learned as f64);
        Ok(Some(Line::Validation { step, epoch, loss, learned: Some(learned) }))
    }

    fn save(
        &mut self,
        epoch: Option<usize>,
        loss: Option<f64>,
        validation: Option<Line>,
    ) -> Result<Checkpoint, TrainError> {
        let validation = validation.and_then(|line| match line {
            Line::Validation { loss, .. } => Some(loss),
            Line::Step(_) | Line::Eval { .. } => None,
        });
        let facts = Facts { step: self.done, epoch, loss, validation };
        let (base, settings) = (&self.base, &self.job.settings);
        let beside = |folder: &Path| match settings.method {
            Method::Lora => export::adapter_config(folder, base.path(), settings),
            Method::Full => base.write_beside(folder),
        };
        let file = learned_file(settings.method);
        self.saved = self.done;
        let (params, optimiser) = (&self.copies.first.params, &self.optimiser);
        save::write(&self.job.output, &facts, params, optimiser, beside, file)
    }
}
