//! Trains with LLaMA-Factory: its input, its process and its checkpoints.

mod collect;
mod files;
mod process;

use std::path::PathBuf;

use crate::cluster::Options;
use crate::settings::{Precision, Settings};

pub use files::ShareGpt;
pub use process::{News, Running};

/// A training with LLaMA-Factory.
#[derive(Clone, Debug)]
pub struct LlamaFactory {
    /// The Hugging Face model folder; an absolute path.
    pub base: PathBuf,
    /// Output folder of the training; an absolute path.
    pub output: PathBuf,
    /// Settings that determine the result.
    pub settings: Settings,
    /// The dtype that the model computes in.
    pub dtype: Precision,
    /// LLaMA-Factory's name of the chat template; if `None`, the one of the dataset.
    pub template: Option<String>,
    /// LLaMA-Factory's program.
    pub program: PathBuf,
    /// GPUs per node; the CPU if 0.
    pub gpus: usize,
    /// Number of nodes.
    pub nodes: usize,
    /// What a script for sbatch asks of Slurm; `None`: no script.
    pub slurm: Option<Options>,
}

impl LlamaFactory {
    /// The folder of its input.
    fn handed(&self) -> PathBuf {
        self.output.join("llamafactory")
    }

    /// The folder of its output.
    fn made(&self) -> PathBuf {
        self.handed().join("out")
    }

    /// The file of its settings.
    pub fn settings_file(&self) -> PathBuf {
        self.handed().join("train.yaml")
    }

    /// The script for sbatch.
    pub fn script(&self) -> PathBuf {
        self.handed().join("train.sbatch")
    }
}
