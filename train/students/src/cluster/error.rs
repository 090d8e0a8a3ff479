//! Errors of the cluster.

use std::io;
use std::path::{Path, PathBuf};

/// Why nothing is submitted or shown: one sentence with the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A mistake in the file or on the command line.
    #[error("{0}")]
    Usage(String),
    /// The folder has no plan.
    #[error("{} has no cluster/plan.json; name a folder that `fixfly cluster submit -o` wrote", .0.display())]
    NoPlan(PathBuf),
    /// Another process works with the folder.
    #[error("another `fixfly cluster` uses {}; wait until it ends", .0.display())]
    Busy(PathBuf),
    /// A stage that was submitted has another command now.
    #[error(
        "the {what} of the stage {stage} differs from when it was submitted; restore it, or name another folder with -o"
    )]
    Changed {
        /// The stage.
        stage: String,
        /// What differs.
        what: &'static str,
    },
    /// The jobs are those of another user or cluster, whose queue this one does not show.
    #[error("the jobs of {} were submitted {then}, and this is {now}; run the command there", .folder.display())]
    Elsewhere {
        /// The folder.
        folder: PathBuf,
        /// User and cluster of the jobs.
        then: String,
        /// User and cluster of this process.
        now: String,
    },
    /// A program of Slurm is not there.
    #[error(
        "cannot run {program}: {why}; run this where Slurm's programs are, such as a login node"
    )]
    NoSlurm {
        /// The program.
        program: String,
        /// The reason.
        why: io::Error,
    },
    /// A program of Slurm failed.
    #[error("{doing}: {why}")]
    Slurm {
        /// What was asked of it.
        doing: String,
        /// The last line of its error output.
        why: String,
    },
    /// A file of the folder is not as fixfly wrote it.
    #[error("{} is damaged ({why}); restore it, or name another folder with -o", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The reason.
        why: String,
    },
    /// The file system failed.
    #[error("cannot {verb} {}: {why}", .file.display())]
    Io {
        /// The operation.
        verb: &'static str,
        /// The file.
        file: PathBuf,
        /// The reason.
        why: io::Error,
    },
}

impl ClusterError {
    pub(super) fn io(verb: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |why| ClusterError::Io { verb, file: file.into(), why }
    }
}
