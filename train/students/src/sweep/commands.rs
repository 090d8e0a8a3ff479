//! What a sweep needs from the program that runs its stages.

use std::io;
use std::path::{Path, PathBuf};

use fixfly_runtime::RunError;

use super::Stage;
use crate::error::TrainError;

/// The program's commands: each stage of a sweep is one of them.
pub trait Commands {
    /// Why a command of the program fails.
    type Error: From<SweepError>;
    /// A student that is loaded and ready to run.
    type Student;

    /// Prints a line for the user.
    fn status(&self, line: &str);

    /// Whether the user asked to stop.
    fn is_stopped(&self) -> bool;

    /// Whether this error is [`SweepError::Waits`].
    fn waits(&self, error: &Self::Error) -> bool;

    /// Runs the command of a stage.
    ///
    /// # Errors
    /// What the command returns.
    fn execute(&self, stage: &Stage) -> Result<(), Self::Error>;

    /// The error of a stage, with the command that failed.
    fn failed(&self, error: Self::Error, command: &str) -> Self::Error;

    /// One engine for these stages, each a run of the same model with an adapter of its own.
    ///
    /// # Errors
    /// If the model or an adapter cannot be loaded.
    fn students(&self, stages: &[Stage]) -> Result<Vec<Self::Student>, Self::Error>;

    /// Runs a student, as its stage states.
    ///
    /// # Errors
    /// What `fixfly run` returns.
    fn run(&self, student: Self::Student) -> Result<(), Self::Error>;

    /// The folder or the file of a base model.
    ///
    /// # Errors
    /// If the model was not fetched.
    fn base_model(&self, base: &Path) -> Result<PathBuf, Self::Error>;

    /// The number of rows of a dataset.
    ///
    /// # Errors
    /// If it cannot be read.
    fn rows(&self, dataset: &Path) -> Result<usize, Self::Error>;

    /// The names of a recipe's teachers.
    ///
    /// # Errors
    /// If it cannot be read.
    fn teachers(&self, recipe: &str) -> Result<Vec<String>, Self::Error>;

    /// Writes placeholder reasoning for each row of a dataset, for a smoke test.
    ///
    /// # Errors
    /// If the rows cannot be read or the file cannot be written.
    fn placeholder_traces(&self, dataset: &Path, file: &Path) -> Result<(), Self::Error>;
}

/// Why a sweep fails, if none of its commands does.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A mistake in the sweep's file.
    #[error("{0}")]
    Usage(String),
    /// The user stopped it.
    #[error("stopped; run the same command again to resume")]
    Stopped,
    /// A stage needs one that this process does not run.
    #[error("a stage that this one needs is not done")]
    Waits,
    /// A stage or its results are not as they should be.
    #[error("{0}")]
    Broken(String),
    /// The file system failed.
    #[error("cannot {verb} {}: {why}", .file.display())]
    Io {
        /// The operation.
        verb: &'static str,
        /// The file or folder.
        file: PathBuf,
        /// The reason.
        why: io::Error,
    },
    /// A student cannot be read.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A run cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl SweepError {
    pub(super) fn io(verb: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |why| SweepError::Io { verb, file: file.into(), why }
    }
}
