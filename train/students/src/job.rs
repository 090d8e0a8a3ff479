//! A training job: what to train, and how.

use std::path::PathBuf;

use crate::plan::ComputeConfig;
use crate::settings::{Precision, Settings};

/// What to train, on which dataset, and where to write it.
#[derive(Clone, Debug)]
pub struct Job {
    /// A model folder of Hugging Face.
    pub base: PathBuf,
    /// A dataset folder with `tokens/`.
    pub dataset: PathBuf,
    /// Output folder; an interrupted training resumes from it.
    pub output: PathBuf,
    /// What determines the result.
    pub settings: Settings,
    /// What determines memory and speed.
    pub means: ComputeConfig,
    /// The GPUs to use, each for a part of every step; if empty, the CPU.
    pub gpus: Vec<usize>,
    /// The dtype that the model computes in; if `None`, f32 on the CPU and bf16 on a GPU.
    pub precision: Option<Precision>,
}
