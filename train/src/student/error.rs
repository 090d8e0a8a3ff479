//! Why a training ends before its time.

use std::io;
use std::path::{Path, PathBuf};

/// Why a training ends before its time: one sentence with the place and the mend.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Values that make no sense.
    #[error("{0}")]
    Settings(String),
    /// A model folder that cannot be used.
    #[error("{0}")]
    Base(String),
    /// Rows that cannot be learned from.
    #[error("{0}")]
    Rows(String),
    /// It would not fit.
    #[error("{0}")]
    Memory(String),
    /// A folder that holds another training, or a checkpoint that is not whole.
    #[error("{0}")]
    Resume(String),
    /// The loss or the gradient is no number any more.
    #[error(
        "the {what} of step {step} is {value}: the training came apart; try a lower --lr, or a longer --warmup"
    )]
    Diverged {
        /// Loss or gradient.
        what: &'static str,
        /// The step, counted from 1.
        step: usize,
        /// What it is.
        value: f64,
    },
    /// The tensor library refused.
    #[cfg(feature = "native")]
    #[error("cannot compute: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The file system refused.
    #[error("cannot {verb} {}: {why}", .file.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        why: io::Error,
    },
}

impl TrainError {
    pub(crate) fn io(verb: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |why| TrainError::Io { verb, file: file.into(), why }
    }
}
