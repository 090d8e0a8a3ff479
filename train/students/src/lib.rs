//! Students: trains them on the rows of a dataset, and exports them to the formats
//! of other programs.
//!
//! Without features it holds the settings, records and checkpoints of a training, and
//! what LLaMA-Factory needs to do one. With the feature `native` it trains here: LoRA
//! and full fine-tunes of Qwen3, Llama 3.1, Mistral and Ministral.
//!
//! It is not an inference engine, and it makes no datasets: it reads the files that
//! `fixfly dataset build` writes.
//!
//! candle is the tensor library; no gradient is its own. Each function of a layer
//! has its backward pass beside it (`ops`), layers are recomputed in the
//! backward pass (`layer`), and trained parameters are kept in f32 (`params`).
//!
//! ```
//! use fixfly_students::{Method, Settings};
//! let settings = Settings::of(Method::Lora);
//! assert_eq!((settings.rank, settings.steps_per_epoch(5300)), (32, 663));
//! ```

#[cfg(feature = "native")]
mod chance;
mod checkpoint;
#[cfg(feature = "native")]
mod copies;
#[cfg(feature = "cuda")]
pub mod cuda;
mod error;
#[cfg(feature = "native")]
mod export;
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
#[cfg(feature = "native")]
mod log;
#[cfg(feature = "native")]
mod model;
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
mod shape;
#[cfg(feature = "native")]
mod show;
#[cfg(all(test, feature = "native"))]
mod tests;
#[cfg(feature = "native")]
mod trainer;
#[cfg(feature = "native")]
mod weights;

pub use checkpoint::{Checkpoint, Facts, Repairs, checkpoints, choose};
pub use error::TrainError;
pub use line::{Line, Step};
pub use llamafactory::{LlamaFactory, News, Running, ShareGpt};
pub use record::Record;
pub use settings::{Method, Precision, Schedule, Settings, Target};

#[cfg(feature = "native")]
pub use {
    export::{ExportDtype, Student, gguf_adapter, gguf_model, merge, peft},
    init::RandomInit,
    job::Job,
    model::Chunks,
    plan::{ComputeConfig, Plan},
    ready::{Ready, Sample},
    rows::{Row, Rows},
    shape::{Family, ModelConfig},
    trainer::{Outcome, Trainer, Watch},
};
