//! The state that the command of a job writes for `fixfly cluster status`.

use std::path::PathBuf;
use std::{fs, io};

use fixfly_runtime::write_whole;

/// Writes the exit code of a job's command. `path` is the beginning of its files.
///
/// # Errors
/// If the file cannot be written.
pub fn end_job(path: PathBuf, code: u8) -> io::Result<()> {
    JobFile::new(path).ended(code)
}

/// The files in which a job's command writes its state.
#[derive(Clone, Debug)]
pub(super) struct JobFile(PathBuf);

impl JobFile {
    /// The files that begin with this path.
    pub(super) fn new(path: PathBuf) -> JobFile {
        JobFile(path)
    }

    /// The file of the exit code.
    pub(super) fn exit_file(&self) -> PathBuf {
        let mut path = self.0.clone().into_os_string();
        path.push(".exit");
        path.into()
    }

    /// Writes the exit code.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn ended(&self, code: u8) -> io::Result<()> {
        write_whole(&self.exit_file(), format!("{code}\n"))
    }

    /// The exit code, if the command ended.
    pub(super) fn exit(&self) -> Option<i32> {
        fs::read_to_string(self.exit_file()).ok()?.trim().parse().ok()
    }
}
