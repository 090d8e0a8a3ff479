//! Training of students: settings, records and checkpoints. With the feature
//! `native`, also the training itself: LoRA and full fine-tunes of Qwen3, Llama 3.1,
//! Mistral and Ministral.
//!
//! candle is the tensor library; no gradient is its own. Each function of a layer
//! has its backward pass beside it (`ops`), layers are recomputed in the
//! backward pass (`layer`), and trained parameters are kept in f32 (`params`).

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
mod record;
#[cfg(feature = "native")]
mod rows;
#[cfg(feature = "native")]
mod save;
#[cfg(feature = "native")]
mod shape;
#[cfg(all(test, feature = "native"))]
mod tests;
#[cfg(feature = "native")]
mod trainer;
#[cfg(feature = "native")]
mod weights;

pub use checkpoint::{Checkpoint, Facts, Repairs, checkpoints, choose};
pub use error::TrainError;
pub use line::{Line, Step};
pub use record::Record;

#[cfg(feature = "native")]
pub use {
    export::{ExportDtype, gguf_adapter, gguf_model, merge},
    init::RandomInit,
    job::{Job, Ready, Sample},
    model::Chunks,
    plan::{ComputeConfig, Plan, bytes_in_words},
    rows::{Row, Rows},
    shape::{Family, ModelConfig},
    trainer::{Outcome, Trainer, Watch},
};
