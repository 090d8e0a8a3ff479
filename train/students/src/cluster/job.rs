//! The state that the command of a job writes for `fixfly cluster status`.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::{fs, io};

use fixfly_runtime::write_whole;

/// The files of the job that this process runs, if it runs one.
static OWN: OnceLock<JobFile> = OnceLock::new();

/// States that this process is the command of a job, with the path of its files.
pub fn begin_job(path: PathBuf) {
    // A process is one job.
    let _ = OWN.set(JobFile::new(path));
}

/// Writes how many episodes this process records, if it is the command of a job.
///
/// # Errors
/// If the file cannot be written.
pub fn job_plans(episodes: usize) -> io::Result<()> {
    OWN.get().map_or(Ok(()), |job| job.planned(episodes))
}

/// Writes the exit code of this process, if it is the command of a job.
///
/// # Errors
/// If the file cannot be written.
pub fn end_job(code: u8) -> io::Result<()> {
    OWN.get().map_or(Ok(()), |job| job.ended(code))
}

/// The files in which a job's command writes its state.
#[derive(Clone, Debug)]
pub(super) struct JobFile(PathBuf);

impl JobFile {
    /// The files that begin with this path.
    pub(super) fn new(path: PathBuf) -> JobFile {
        JobFile(path)
    }

    pub(super) fn at(&self, ending: &str) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(ending);
        path.into()
    }

    /// Writes how many episodes the command records.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn planned(&self, episodes: usize) -> io::Result<()> {
        write_whole(&self.at(".planned"), format!("{episodes}\n"))
    }

    /// Writes the exit code.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn ended(&self, code: u8) -> io::Result<()> {
        write_whole(&self.at(".exit"), format!("{code}\n"))
    }

    /// The exit code, if the command ended.
    pub(super) fn exit(&self) -> Option<i32> {
        self.number(".exit")
    }

    pub(super) fn number<T: std::str::FromStr>(&self, ending: &str) -> Option<T> {
        fs::read_to_string(self.at(ending)).ok()?.trim().parse().ok()
    }
}
