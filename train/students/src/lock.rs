//! Locks of the folders that a training or a sweep writes to.

use std::fs::File;
use std::path::Path;

use fixfly_runtime::{LockError, lock, lock_shared};

use crate::error::TrainError;

/// Two processes would remove each other's checkpoints.
pub(crate) const TRAINING: &str = "train.lock";
/// Two processes would run each other's stages.
pub(crate) const SWEEP: &str = "sweep.lock";

/// Locks a folder by its file of this name, until what is returned is dropped.
pub(crate) fn locked(folder: &Path, name: &str) -> Result<File, TrainError> {
    lock(&folder.join(name)).map_err(|error| refused(folder, name, error))
}

/// The same for a process that shares the folder with others of its kind.
pub(crate) fn shared(folder: &Path, name: &str) -> Result<Option<File>, TrainError> {
    lock_shared(&folder.join(name)).map_err(|error| refused(folder, name, error))
}

fn refused(folder: &Path, name: &str, error: LockError) -> TrainError {
    match error {
        LockError::Busy(_) => TrainError::Resume(format!(
            "{} is {error}; wait until it ends or name another folder",
            folder.display()
        )),
        LockError::Io(error) => TrainError::io("lock", &folder.join(name))(error),
    }
}
