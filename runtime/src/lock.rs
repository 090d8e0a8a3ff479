//! Locks of folders that one process at a time writes to.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Why a file cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds the lock. Contains ` (pid 4711 on node3)`, or nothing if the
    /// file does not name the process.
    #[error("in use by another fixfly process{0}")]
    Busy(String),
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Creates a file, if it is missing, and locks it until the file is closed: also by the end
/// of the process, however it ends. Writes the process id and the host into it.
///
/// # Errors
/// [`LockError::Busy`] if another process, or this one, holds the lock.
pub fn lock(path: &Path) -> Result<File, LockError> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    match file.try_lock() {
        Ok(()) => {
            // Only a refusal reads it, so a full disk does not matter.
            let process = format!("pid {} on {}\n", std::process::id(), host());
            let _ = file.set_len(0).and_then(|()| file.write_all(process.as_bytes()));
            Ok(file)
        }
        Err(error) => Err(refused(path, error)),
    }
}

/// Shares the lock of a file, if there is one, so that no process can [`lock`] it meanwhile.
///
/// # Errors
/// [`LockError::Busy`] if another process, or this one, holds the lock.
pub fn lock_shared(path: &Path) -> Result<Option<File>, LockError> {
    let file = match File::open(path) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        file => file?,
    };
    file.try_lock_shared().map_err(|error| refused(path, error))?;
    Ok(Some(file))
}

fn refused(path: &Path, error: TryLockError) -> LockError {
    match error {
        TryLockError::WouldBlock => LockError::Busy(holder(path)),
        TryLockError::Error(error) => error.into(),
    }
}

/// The process that a locked file names.
fn holder(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let process = text.lines().next().filter(|line| line.starts_with("pid ") && line.len() < 300);
    process.map_or(String::new(), |process| format!(" ({process})"))
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_process_and_its_host() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.lock");
        fs::write(&path, "pid 1 on a machine that was switched off\nmore\n").unwrap();
        let held = lock(&path).unwrap();
        let refused = || lock(&path).unwrap_err().to_string();
        let expected = format!(" (pid {} on {})", std::process::id(), host());
        assert_eq!(refused(), format!("in use by another fixfly process{expected}"));
        // As older versions leave it.
        for text in ["", "something else"] {
            fs::write(&path, text).unwrap();
            assert_eq!(refused(), "in use by another fixfly process");
        }
        drop(held);
        assert!(lock(&path).is_ok());
        let missing = folder.path().join("none/run.lock");
        assert!(matches!(lock(&missing), Err(LockError::Io(_))));
    }
}
