//! A training job: what to train, and how.

use std::path::PathBuf;

use crate::plan::ComputeConfig;
use crate::settings::{BaseDtype, MatmulPrecision, Precision, Settings};

/// What to train, on which dataset, and where to write it.
#[derive(Clone, Debug)]
pub struct Job {
    /// A Hugging Face model folder, or a GGUF file.
    pub base: PathBuf,
    /// A dataset folder with `tokens/`.
    pub dataset: PathBuf,
    /// Output folder; an interrupted training resumes from it.
    pub output: PathBuf,
    /// Settings that determine the result.
    pub settings: Settings,
    /// Settings that determine memory and speed.
    pub means: ComputeConfig,
    /// The GPUs to use, each for a part of every step; the CPU if empty.
    pub gpus: Vec<usize>,
    /// The dtype that the model computes in; if `None`, f32 on the CPU and bf16 on a GPU.
    pub precision: Option<Precision>,
    /// How frozen matrices are held; if `None`, those of a GGUF file as they are stored, and
    /// others in the dtype of computation.
    pub base_dtype: Option<BaseDtype>,
    /// How exact products with frozen matrices are on the CPU.
    pub matmul_precision: MatmulPrecision,
}
