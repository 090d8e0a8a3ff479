//! Checks a training job before anything is loaded.

use candle_core::{DType, Device};
use tokenizers::Tokenizer;

use crate::amx;
use crate::base_model::Base;
use crate::copies::Copies;
use crate::error::TrainError;
use crate::job::Job;
use crate::lock::{TRAINING, locked};
use crate::model::Model;
use crate::optimiser::AdamW;
use crate::plan::{self, Held, Plan};
use crate::record::Record;
use crate::rows::{Row, Rows};
use crate::save;
use crate::settings::{BaseDtype, MatmulPrecision, Method, Precision};
use crate::trainer::{Trainer, learned_file, order};

/// A row as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Id of the row in the dataset.
    pub row: String,
    /// The text in pieces, and whether each piece carries loss.
    pub pieces: Vec<(String, bool)>,
}

/// A job that passed all checks; nothing is loaded yet.
pub struct Ready {
    job: Job,
    record: Record,
    rows: Rows,
    base: Base,
    base_dtype: BaseDtype,
    held: Held,
    /// At least one; the optimiser runs on the first.
    pub(crate) devices: Vec<Device>,
    precision: Precision,
    plan: Plan,
}

impl Job {
    /// Reads the rows and the model's sizes, and estimates the cost.
    ///
    /// # Errors
    /// [`TrainError`] if the training is not possible.
    pub fn ready(mut self) -> Result<Ready, TrainError> {
        if let Some(fault) = self.settings.fault() {
            return Err(TrainError::Settings(fault));
        }
        let base = Base::open(&self.base)?;
        let shape = base.config();
        let mut rows = Rows::open(&self.dataset, shape.vocab_size)?;
        if self.settings.train_on_prompt {
            rows.learn_prompts();
        }
        rows.check_tokenizer(&base)?;
        let most = self.settings.max_length.min(shape.max_position_embeddings);
        if let Some(row) = rows.too_long(most) {
            let tokens = row.tokens.len();
            let or = match tokens <= shape.max_position_embeddings {
                true => format!(", or train with --max-length {tokens}"),
                false => format!("; the model supports {}", shape.max_position_embeddings),
            };
            return Err(TrainError::Rows(format!(
                "row {} has {tokens} tokens, and the limit is {most}: build the dataset with --max-length {most}{or}",
                row.id
            )));
        }
        let devices = devices(&self.gpus)?;
        let on_cpu = self.gpus.is_empty();
        let precision = self.precision.unwrap_or(match on_cpu {
            true => Precision::F32,
            false => Precision::Bf16,
        });
        let base_dtype = self.base_dtype(&base)?;
        let is_frozen = self.settings.method == Method::Lora;
        if !(is_frozen && precision == Precision::F32 && on_cpu && amx::is_available()) {
            self.matmul_precision = MatmulPrecision::Highest;
        }
        let held = Held {
            bytes: dtype(precision).size_in_bytes(),
            stored: base.stored(base_dtype, precision),
        };
        let free = self.means.memory.or_else(|| free_memory(&devices));
        let layers = self.means.chunks.no_recompute_layers.unwrap_or_else(|| {
            plan::no_recompute_layers(shape, &rows, &self.settings, &self.means, held, free)
        });
        self.means.chunks.no_recompute_layers = Some(layers);
        let plan = Plan::new(shape, &rows, &self.settings, &self.means, held);
        if let Some(free) = free {
            plan::check_memory(&plan, shape, &self.settings, &self.means, held, free)?;
        }
        let (model, rows_of) = ((&*self.base, base.hash()?), (&*self.dataset, &*rows.hash));
        let rounded = (base_dtype, precision) == (BaseDtype::Bf16, Precision::F32);
        let record = Record {
            base_dtype: rounded.then_some(base_dtype),
            float32_matmul_precision: self.matmul_precision,
            ..Record::new("fixfly", model, rows_of, precision, &self.settings)
        };
        record.is_in(&self.output)?;
        Ok(Ready { job: self, record, rows, base, base_dtype, held, devices, precision, plan })
    }

    /// How frozen matrices are held. A full fine-tune has none.
    fn base_dtype(&self, base: &Base) -> Result<BaseDtype, TrainError> {
        if self.settings.method == Method::Lora {
            return base.held(self.base_dtype);
        }
        base.check_as_folder()?;
        match self.base_dtype {
            None | Some(BaseDtype::F32) => Ok(BaseDtype::F32),
            Some(_) => Err(TrainError::Settings(
                "--base-dtype is for frozen weights, and a full fine-tune trains all of them in f32; remove it, or use fixfly train lora".into(),
            )),
        }
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
        return Err(TrainError::Settings(format!("--gpu lists {} twice", twice.1)));
    }
    if !candle_core::utils::cuda_is_available() {
        return Err(TrainError::Settings(
            "this fixfly was built without GPU support: remove --gpu, or build with --features train-cuda".into(),
        ));
    }
    #[cfg(feature = "cuda")]
    crate::cuda::open().map_err(|why| TrainError::Settings(why.to_string()))?;
    gpus.iter().map(|at| Device::new_cuda(*at).map_err(|why| no_gpu(*at, &why))).collect()
}

/// Free bytes on the device with the least free memory, because each device holds the whole
/// model.
fn free_memory(devices: &[Device]) -> Option<u64> {
    let free = devices.iter().filter_map(|device| match device {
        Device::Cpu => plan::free_memory(),
        #[cfg(feature = "cuda")]
        Device::Cuda(gpu) => {
            let (free, _) = gpu.cuda_stream().context().mem_get_info().ok()?;
            Some(free as u64)
        }
        _ => None,
    });
    free.min()
}

fn no_gpu(at: usize, why: &candle_core::Error) -> TrainError {
    let why = why.to_string();
    let why = why.lines().next().unwrap_or_default();
    TrainError::Settings(format!(
        "cannot use --gpu {at} ({why}): nvidia-smi lists the available GPUs"
    ))
}

impl Ready {
    /// The estimated cost.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The dtype that the model computes in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// How exact products with frozen matrices are: less than asked for only where the
    /// processor lacks it.
    pub fn matmul_precision(&self) -> MatmulPrecision {
        self.job.matmul_precision
    }

    /// Estimated duration in seconds; measures the device briefly.
    ///
    /// # Errors
    /// [`TrainError::Tensor`] if the device fails.
    pub fn seconds(&self) -> Result<f64, TrainError> {
        let (means, dtype) = (&self.job.means, dtype(self.precision));
        let (shape, device) = (self.base.config(), &self.devices[0]);
        let one = self.plan.seconds(
            shape,
            means,
            device,
            dtype,
            (self.held, self.job.matmul_precision),
        )?;
        Ok(one / self.devices.len() as f64)
    }

    /// The first rows of the first epoch, as text.
    ///
    /// # Errors
    /// [`TrainError::Base`] if the model's tokenizer cannot be read.
    pub fn samples(&self, count: usize) -> Result<Vec<Sample>, TrainError> {
        let file = self.base.tokenizer_file();
        let fault = |why| TrainError::Base(format!("cannot read {}: {why}", file.display()));
        let tokenizer = Tokenizer::from_bytes(self.base.tokenizer()?).map_err(fault)?;
        let order = order(self.rows.train.len(), self.job.settings.seed, 0);
        let rows = order.iter().take(count).map(|at| &self.rows.train[*at]);
        rows.map(|row| Sample::of(row, &tokenizer).map_err(fault)).collect()
    }

    /// Loads the model, and the last checkpoint if there is one.
    ///
    /// # Errors
    /// [`TrainError`] if either cannot be used.
    pub fn load(self) -> Result<Trainer, TrainError> {
        let Ready { job, record, rows, base, base_dtype, devices, precision, plan, .. } = self;
        record.keep(&job.output)?;
        let lock = locked(&job.output, TRAINING)?;
        let mut copies = Copies::load(&devices, |device| {
            let (chunks, dtype) = (job.means.chunks, dtype(precision));
            let held = (base_dtype, job.matmul_precision);
            Model::load(&base, &job.settings, chunks, held, device, dtype)
        })?;
        let params = &mut copies.first.params;
        let mut optimiser = AdamW::new(params)?;
        let file = learned_file(job.settings.method);
        let done = save::resume(&job.output, params, &mut optimiser, file, &devices[0])?;
        copies.follow()?;
        Ok(Trainer::new(job, base, rows, (copies, optimiser), plan, (done, lock)))
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
