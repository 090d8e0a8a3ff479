//! How a failed command ends.

use fixfly_students::cluster::ClusterError;

use crate::terminal::{Terminal, one_line};

/// A usage error: nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Interrupted by the user; explains how to resume.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Interrupted(pub(crate) String);

/// Faults of a file for `fixfly cluster` are errors of usage.
pub(crate) fn of_cluster(error: ClusterError) -> anyhow::Error {
    match error {
        ClusterError::Usage(why) => Usage(why).into(),
        error => error.into(),
    }
}

/// Prints the error in one sentence and returns the exit code.
pub(crate) fn end(error: &anyhow::Error, terminal: &Terminal) -> u8 {
    let sentence = one_line(&format!("{error:#}"));
    if error.is::<Interrupted>() {
        terminal.error(&sentence);
        return 130;
    }
    terminal.error(&format!("error: {sentence}"));
    match error.is::<Usage>() {
        true => 2,
        false => 1,
    }
}
