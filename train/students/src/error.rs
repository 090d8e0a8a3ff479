//! Errors of training.

use std::io;
use std::path::{Path, PathBuf};

/// Why a training fails: one sentence with the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Invalid settings.
    #[error("{0}")]
    Settings(String),
    /// A model folder that cannot be used.
    #[error("{0}")]
    Base(String),
    /// Rows that cannot be trained on.
    #[error("{0}")]
    Rows(String),
    /// The training does not fit in memory.
    #[error("{0}")]
    Memory(String),
    /// A folder with another training, or an incomplete checkpoint.
    #[error("{0}")]
    Resume(String),
    /// Nothing to export yet.
    #[error("{0}")]
    Export(String),
    /// The loss or the gradient is not finite.
    #[error(
        "the {what} of step {step} is {value}: the training diverged; use a lower --lr or more --warmup-steps"
    )]
    Diverged {
        /// Loss or gradient.
        what: &'static str,
        /// The step, counted from 1.
        step: usize,
        /// The value.
        value: f64,
    },
    /// The tensor library failed.
    #[cfg(feature = "native")]
    #[error("cannot compute: {0}")]
    Tensor(#[from] candle_core::Error),
    /// Tensors cannot be written.
    #[cfg(feature = "native")]
    #[error("cannot write {}: {why}; if the disk is full, free some space; the same command resumes", .file.display())]
    Save {
        /// The file.
        file: PathBuf,
        /// The reason.
        why: candle_core::Error,
    },
    /// The file system failed.
    #[error("cannot {verb} {}: {why}{}", .file.display(), remedy(.why))]
    Io {
        /// The operation.
        verb: &'static str,
        /// The file.
        file: PathBuf,
        /// The reason.
        why: io::Error,
    },
}

fn remedy(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some disk space and run the same command again to resume"
        }
        _ => "",
    }
}

impl TrainError {
    pub(crate) fn io(verb: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |why| TrainError::Io { verb, file: file.into(), why }
    }
}
