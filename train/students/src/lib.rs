//! Trains students on the rows of a dataset, and exports them to the formats of other
//! programs.
//!
//! Without features, this crate contains the settings, records and checkpoints of a
//! training, reads the file of a sweep and runs its stages, runs LLaMA-Factory, and submits
//! stages as jobs to Slurm. With the feature `native`, it
//! trains in this process: LoRA and full fine-tunes of Qwen2, Qwen3, Llama, Mistral and
//! Ministral, from Hugging Face folders and from GGUF files, whose weights stay quantised.
//!
//! It is not an inference engine, and it builds no datasets: it reads the files that
//! `fixfly dataset build` writes.
//!
//! candle is the tensor library, but its autograd is not used. Each function of a layer has
//! its backward pass beside it (`ops`), layers are recomputed in the backward pass if memory is
//! short (`layer`), sums reuse memory (`in_place`), products with frozen matrices may be rounded to bf16 (`amx`), quantised matrices are dequantised block by
//! block (`matrix`), and trained parameters are kept in f32 (`params`).
//!
//! ```
//! use fixfly_students::{Method, Settings};
//! let settings = Settings::of(Method::Lora);
//! assert_eq!((settings.rank, settings.steps_per_epoch(5300)), (32, 663));
//! ```

#[cfg(feature = "native")]
mod amx;
#[cfg(feature = "native")]
mod base_model;
#[cfg(feature = "native")]
mod chance;
mod checkpoint;
pub mod cluster;
#[cfg(feature = "native")]
mod copies;
#[cfg(feature = "cuda")]
pub mod cuda;
mod error;
#[cfg(feature = "native")]
mod export;
#[cfg(feature = "native")]
mod in_place;
#[cfg(feature = "native")]
mod init;
#[cfg(feature = "native")]
mod job;
#[cfg(feature = "native")]
mod layer;
mod line;
#[cfg(feature = "native")]
mod linear;
mod llamafactory;
mod lock;
#[cfg(feature = "native")]
mod log;
#[cfg(feature = "native")]
mod matrix;
#[cfg(feature = "native")]
mod model;
#[cfg(feature = "native")]
mod model_config;
#[cfg(feature = "native")]
mod ops;
#[cfg(feature = "native")]
mod optimiser;
#[cfg(feature = "native")]
mod params;
#[cfg(feature = "native")]
mod pass;
#[cfg(feature = "native")]
mod plan;
#[cfg(feature = "native")]
mod ready;
mod record;
#[cfg(feature = "native")]
mod rows;
#[cfg(feature = "native")]
mod save;
mod settings;
#[cfg(feature = "native")]
mod show;
pub mod sweep;
#[cfg(feature = "native")]
mod tensors;
#[cfg(all(test, feature = "native"))]
mod tests;
#[cfg(feature = "native")]
mod trainer;
#[cfg(feature = "native")]
mod weights;

pub use checkpoint::{Checkpoint, EvalResult, Facts, checkpoints, choose};
pub use error::TrainError;
pub use line::{Line, Step};
pub use llamafactory::{LlamaFactory, News, Running, ShareGpt};
pub use record::{Record, folder_hash};
pub use settings::{BaseDtype, MatmulPrecision, Method, Precision, Schedule, Settings, Target};

#[cfg(feature = "native")]
pub use {
    base_model::check_base,
    export::{ExportDtype, Student, gguf_adapter, gguf_model, merge, peft},
    init::RandomInit,
    job::Job,
    model::Chunks,
    model_config::{Family, ModelConfig},
    plan::{ComputeConfig, Plan, lora_memory},
    ready::{Ready, Sample},
    rows::{Row, Rows},
    trainer::{Outcome, Trainer, Watch},
};
