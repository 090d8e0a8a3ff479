//! The training itself: rows in their order, a step after a step, and what it
//! leaves behind.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::{DType, Device};
use tokenizers::Tokenizer;

use super::chance::{self, Dropout};
use super::checkpoint::{Checkpoint, Facts};
use super::copies::Copies;
use super::error::TrainError;
use super::export;
use super::line::{Line, Step};
use super::log::Log;
use super::model::Model;
use super::optimiser::{AdamW, clipped};
use super::pass::Pass;
use super::plan::{self, Means, Plan};
use super::record::Record;
use super::rows::{Row, Rows};
use super::save;
use super::shape::Shape;
use crate::settings::{Method, Precision, Settings};

/// What is trained on what, to where.
#[derive(Clone, Debug)]
pub struct Job {
    /// A model folder of Hugging Face.
    pub base: PathBuf,
    /// A dataset folder with `tokens/`.
    pub dataset: PathBuf,
    /// Where the training is kept; one that was stopped goes on there.
    pub output: PathBuf,
    /// What decides the result.
    pub settings: Settings,
    /// What decides memory and speed.
    pub means: Means,
    /// The GPUs to use, each for a part of every step; none: the processor.
    pub gpus: Vec<usize>,
    /// What the model computes with; none: f32 on a processor, else bf16.
    pub precision: Option<Precision>,
}

/// What happens in a training.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A line of its log.
    Line(Line),
    /// A checkpoint that is on the disk.
    Saved(Checkpoint),
}

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All steps were taken.
    Done,
    /// Somebody asked it to stop; the same job goes on after these steps.
    Stopped(usize),
}

/// A row as a person reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The row of the dataset.
    pub row: String,
    /// Its text in pieces, and whether each is learned.
    pub pieces: Vec<(String, bool)>,
}

/// A job that was looked through and fits, with nothing loaded yet.
pub struct Ready {
    job: Job,
    record: Record,
    rows: Rows,
    shape: Shape,
    /// One or more; the first has the optimiser.
    pub(super) devices: Vec<Device>,
    precision: Precision,
    plan: Plan,
}

impl Job {
    /// Reads rows and sizes, and says what the training will take.
    ///
    /// # Errors
    /// [`TrainError`] for whatever makes it impossible.
    pub fn ready(self) -> Result<Ready, TrainError> {
        if let Some(fault) = self.settings.fault() {
            return Err(TrainError::Settings(fault));
        }
        let shape = Shape::open(&self.base)?;
        let mut rows = Rows::open(&self.dataset, shape.vocabulary)?;
        if self.settings.train_on_prompt {
            rows.learn_prompts();
        }
        rows.check_tokenizer(&self.base)?;
        let most = self.settings.max_tokens.min(shape.context);
        if let Some(row) = rows.too_long(most) {
            return Err(TrainError::Rows(format!(
                "row {} has {} tokens and {most} are the most: build the dataset with --max-tokens {most}, or train with --max-tokens {} (the model was made for {})",
                row.id,
                row.tokens.len(),
                row.tokens.len(),
                shape.context
            )));
        }
        let devices = devices(&self.gpus)?;
        let on_cpu = self.gpus.is_empty();
        let precision = self.precision.unwrap_or(match on_cpu {
            true => Precision::F32,
            false => Precision::Bf16,
        });
        let bytes = dtype(precision).size_in_bytes();
        let plan = Plan::new(&shape, &rows, &self.settings, &self.means, bytes);
        let free = self.means.memory.or_else(|| on_cpu.then(plan::free_memory).flatten());
        if let Some(free) = free {
            plan::check_memory(&plan, &shape, &self.settings, &self.means, bytes, free)?;
        }
        let folders = (&*self.base, &*self.dataset);
        let record = Record::new("fixfly", folders, &rows.hash, precision, &self.settings)?;
        record.is_in(&self.output)?;
        Ok(Ready { job: self, record, rows, shape, devices, precision, plan })
    }
}

fn dtype(precision: Precision) -> DType {
    match precision {
        Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
    }
}

fn devices(gpus: &[usize]) -> Result<Vec<Device>, TrainError> {
    if gpus.is_empty() {
        return Ok(vec![Device::Cpu]);
    }
    if let Some(twice) = gpus.iter().enumerate().find(|(at, gpu)| gpus[..*at].contains(gpu)) {
        return Err(TrainError::Settings(format!("--gpu names {} twice", twice.1)));
    }
    if !candle_core::utils::cuda_is_available() {
        return Err(TrainError::Settings(
            "this fixfly was built without GPUs: leave --gpu out, or build with --features train-cuda".into(),
        ));
    }
    gpus.iter().map(|at| Ok(Device::new_cuda(*at)?)).collect()
}

impl Ready {
    /// What it will take.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the model computes with.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Seconds it will take, about; it tries the machine for a moment.
    ///
    /// # Errors
    /// [`TrainError::Tensor`] where the device refuses.
    pub fn seconds(&self) -> Result<f64, TrainError> {
        let one = self.plan.seconds(&self.shape, &self.devices[0], dtype(self.precision))?;
        Ok(one / self.devices.len() as f64)
    }

    /// The first rows of the first epoch, as text.
    ///
    /// # Errors
    /// [`TrainError::Base`] where the model's tokenizer cannot be read.
    pub fn samples(&self, count: usize) -> Result<Vec<Sample>, TrainError> {
        let file = self.job.base.join("tokenizer.json");
        let fault = |why| TrainError::Base(format!("cannot read {}: {why}", file.display()));
        let tokenizer = Tokenizer::from_file(&file).map_err(fault)?;
        let order = order(self.rows.train.len(), self.job.settings.seed, 0);
        let rows = order.iter().take(count).map(|at| &self.rows.train[*at]);
        rows.map(|row| Sample::of(row, &tokenizer).map_err(fault)).collect()
    }

    /// Loads the model, and what an earlier start left.
    ///
    /// # Errors
    /// [`TrainError`] where either cannot be used.
    pub fn load(self) -> Result<Trainer, TrainError> {
        let Ready { job, record, rows, devices, precision, plan, .. } = self;
        record.keep(&job.output)?;
        let mut copies = Copies::load(&devices, |device| {
            Model::load(&job.base, &job.settings, job.means.chunks, device, dtype(precision))
        })?;
        let params = &mut copies.first.params;
        let mut optimiser = AdamW::new(params)?;
        let file = learned_file(job.settings.method);
        let done = save::resume(&job.output, params, &mut optimiser, file, &devices[0])?;
        copies.follow()?;
        Ok(Trainer { job, rows, copies, optimiser, plan, done, saved: done })
    }
}

/// The file of a checkpoint that holds what was learned.
fn learned_file(method: Method) -> &'static str {
    match method {
        Method::Lora => "adapter_model.safetensors",
        Method::Full => "model.safetensors",
    }
}

impl Sample {
    fn of(row: &Row, tokenizer: &Tokenizer) -> Result<Sample, tokenizers::Error> {
        let (mut pieces, mut at) = (Vec::new(), 0);
        let ends = row.loss.iter().flat_map(|[from, to]| [(*from, false), (*to, true)]);
        for (end, learned) in ends.chain([(row.tokens.len(), false)]) {
            if end > at {
                pieces.push((tokenizer.decode(&row.tokens[at..end], false)?, learned));
            }
            at = end;
        }
        Ok(Sample { row: row.id.clone(), pieces })
    }
}

/// The rows of an epoch, in its order.
fn order(rows: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    chance::shuffle(&mut order, chance::key(&[seed, 0xE, epoch as u64]));
    order
}

/// A training with its model loaded.
pub struct Trainer {
    job: Job,
    rows: Rows,
    copies: Copies,
    optimiser: AdamW,
    plan: Plan,
    done: usize,
    saved: usize,
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

impl Trainer {
    /// What it takes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Steps that were taken.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Trains to the end, or until `stop`; tells what happens.
    ///
    /// # Errors
    /// [`TrainError`]; what was checkpointed stays.
    pub fn run(
        &mut self,
        stop: &AtomicBool,
        mut see: impl FnMut(Event),
    ) -> Result<Outcome, TrainError> {
        let (mut log, kept) = Log::open(&self.job.output, self.done)?;
        let file = self.job.output.join("log.jsonl");
        let mut tell = |event: Event| {
            if let Event::Line(line) = &event {
                log.write(line).map_err(TrainError::io("write", &file))?;
            }
            see(event);
            Ok::<_, TrainError>(())
        };
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
            tell(Event::Line(line))?;
            if self.done.is_multiple_of(self.plan.steps_per_epoch) {
                let epoch = self.done / self.plan.steps_per_epoch;
                let validation = self.validate(epoch)?;
                if let Some(line) = &validation {
                    tell(Event::Line(line.clone()))?;
                }
                let loss = std::mem::take(&mut sum).mean();
                tell(Event::Saved(self.save(Some(epoch), loss, validation)?))?;
            }
        }
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

    /// What of a row's inputs is left out, in this step.
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
        // Of one pass only one device would have something to do.
        let most = self.job.means.pass_tokens.min(tokens.div_ceil(self.copies.count()));
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
        let scale = clipped(gradient, settings.clip);
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

    /// How the validation rows went; none without rows.
    fn validate(&self, epoch: usize) -> Result<Option<Line>, TrainError> {
        let (mut total, mut learned) = (0.0, 0);
        for pass in Pass::pack(&self.rows.validation, self.job.means.pass_tokens) {
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
            Line::Step(_) => None,
        });
        let facts = Facts { step: self.done, epoch, loss, validation };
        let (base, settings) = (&self.job.base, &self.job.settings);
        let beside = |folder: &Path| match settings.method {
            Method::Lora => export::adapter_config(folder, base, settings),
            Method::Full => export::beside_model(folder, base),
        };
        let file = learned_file(settings.method);
        self.saved = self.done;
        let (params, optimiser) = (&self.copies.first.params, &self.optimiser);
        save::write(&self.job.output, &facts, params, optimiser, beside, file)
    }
}
