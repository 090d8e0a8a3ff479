//! Atomic writes: a process that is killed while it writes leaves the old file.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

const PARTIAL: &str = ".partial";

/// Writes a file atomically. Its contents are on the disk when this returns.
///
/// # Errors
/// As for [`WholeFile`].
pub fn write_whole(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(bytes.as_ref())?;
    file.finish()
}

/// Whether this is the name of a file that a killed process left unfinished.
pub fn is_partial(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") && name.ends_with(PARTIAL.as_bytes())
}

/// A file that is written piece by piece. [`WholeFile::finish`] replaces the file at its
/// path; dropping it earlier removes it.
pub struct WholeFile {
    path: PathBuf,
    out: BufWriter<File>,
    partial: TempPath,
}

impl WholeFile {
    /// Creates a temporary file in the folder of `path`, with the permissions of a new
    /// file.
    ///
    /// # Errors
    /// If the folder does not exist or cannot be written to.
    pub fn create(path: &Path) -> io::Result<Self> {
        let (file, partial) = tempfile::Builder::new()
            .prefix(".")
            .suffix(PARTIAL)
            // Not `tempfile_in`, which makes files private and adds their names to errors.
            .make_in(folder(path), |partial| File::create_new(partial))?
            .into_parts();
        Ok(WholeFile { path: path.into(), out: BufWriter::new(file), partial })
    }

    /// Moves the file into place. Its contents are on the disk when this returns.
    ///
    /// # Errors
    /// If the rest cannot be written or the file cannot be renamed.
    pub fn finish(self) -> io::Result<()> {
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        self.partial.persist(&self.path).map_err(|e| e.error)?;
        File::open(folder(&self.path))?.sync_all()
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Seek for WholeFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.out.seek(to)
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_written_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.json");
        for text in ["{}", "", "{\"key\": 1}"] {
            write_whole(&file, text).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
            assert_eq!(names(folder.path()), ["a.json"]);
        }
    }

    #[test]
    fn a_killed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.json");
        write_whole(&file, "old").unwrap();
        let mut killed = WholeFile::create(&file).unwrap();
        killed.write_all(&[b'x'; 100_000]).unwrap();
        // A killed process runs no destructors.
        std::mem::forget(killed);
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        let left = names(folder.path()).into_iter().filter(|name| name != "a.json");
        let left: Vec<String> = left.collect();
        assert_eq!(left.len(), 1);
        assert!(is_partial(left[0].as_ref()), "{left:?}");
        write_whole(&file, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    }

    #[test]
    fn a_file_that_is_not_finished_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut dropped = WholeFile::create(&folder.path().join("a.json")).unwrap();
        dropped.write_all(b"half").unwrap();
        drop(dropped);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_file_can_be_written_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        let mut out = WholeFile::create(&file).unwrap();
        out.write_all(b"....body").unwrap();
        out.seek(SeekFrom::Start(0)).unwrap();
        out.write_all(b"head").unwrap();
        out.finish().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "headbody");
    }

    #[test]
    fn permissions_are_those_of_any_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, usual) = (folder.path().join("ours"), folder.path().join("usual"));
        write_whole(&ours, "x").unwrap();
        fs::write(&usual, "x").unwrap();
        let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&usual));
    }

    #[test]
    fn an_error_is_the_systems_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("none/a.json");
        let error = write_whole(&file, "x").unwrap_err().to_string();
        assert_eq!(error, "No such file or directory (os error 2)");
        let error = write_whole(folder.path(), "x").unwrap_err().to_string();
        assert_eq!(error, "Is a directory (os error 21)");
    }

    #[test]
    fn what_a_killed_write_leaves_has_a_name_of_its_own() {
        let cases = [
            (".aB3dE6.partial", true),
            ("run.json", false),
            (".hidden", false),
            ("train.json.partial", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_partial(OsStr::new(name)), expected, "{name}");
        }
    }
}
