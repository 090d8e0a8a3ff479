//! Writes a fix to the user's own work tree.

use std::fs;
use std::path::{Path, PathBuf};

use fixfly_runtime::{BenchmarkError, Episode, write_whole};

use super::items::{Fix, Item};
use crate::source;

impl Fix {
    /// Writes the fix of a solved episode to the work tree. All other bytes of the file stay,
    /// and so do its line endings and its permissions. Returns the file.
    ///
    /// # Errors
    /// One sentence if the file was changed since it was copied, or cannot be written.
    pub fn apply(&self, episode: &Episode) -> Result<PathBuf, BenchmarkError> {
        let Item { place, .. } = self.item(&episode.task)?;
        let candidate =
            episode.turns.iter().rev().find_map(|turn| turn.observation.candidate.as_deref());
        let candidate = candidate.filter(|_| episode.solved()).ok_or_else(|| {
            BenchmarkError::Broken(format!("{}: the episode has no fix", episode.task.id))
        })?;
        let fixed = source::spliced(&place.text, &place.method, candidate);
        let root = self.search.repository.from();
        replace(root, &root.join(&place.file), &place.text, &fixed)
    }
}

/// Replaces the text of a file below `root`, if it is still `before`.
fn replace(root: &Path, file: &Path, before: &str, after: &str) -> Result<PathBuf, BenchmarkError> {
    let shown = file.display();
    let broken = |why: String| BenchmarkError::Broken(format!("{shown} {why}"));
    let cannot = |e: std::io::Error| broken(format!("cannot be written: {e}; nothing was changed"));
    let real = file.canonicalize().map_err(cannot)?;
    if !real.starts_with(root) {
        let target = real.display();
        return Err(broken(format!(
            "is a link to {target}, outside the repository; change it there"
        )));
    }
    let now = fs::read(&real).map_err(cannot)?;
    if now != before.as_bytes() {
        return Err(broken(
            "was changed since the tests ran, and nothing was written; run the same command again"
                .to_string(),
        ));
    }
    let permissions = fs::metadata(&real).map_err(cannot)?.permissions();
    write_whole(&real, after).map_err(cannot)?;
    fs::set_permissions(&real, permissions).map_err(cannot)?;
    Ok(real)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_an_unchanged_file_of_the_repository_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("root");
        fs::create_dir(&root).unwrap();
        let (file, outside) = (root.join("a.py"), folder.path().join("b.py"));
        let write = |file: &Path| fs::write(file, "x = 1\r\n").unwrap();
        write(&file);
        write(&outside);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o754)).unwrap();
        symlink(&outside, root.join("b.py")).unwrap();
        symlink("a.py", root.join("c.py")).unwrap();

        let check = |name: &str, before: &str, expected: Result<&str, &str>| {
            let replaced = replace(&root, &root.join(name), before, "x = 2\r\n");
            match expected {
                Ok(expected) => assert_eq!(replaced.unwrap(), root.join(expected)),
                Err(expected) => {
                    let why = replaced.unwrap_err().to_string();
                    assert!(why.contains(expected), "{why}");
                }
            }
        };
        check("a.py", "x = 1\n", Err("a.py was changed since the tests ran"));
        check("b.py", "x = 1\r\n", Err("outside the repository; change it there"));
        check("d.py", "x = 1\r\n", Err("d.py cannot be written"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "x = 1\r\n");
        check("c.py", "x = 1\r\n", Ok("a.py"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "x = 2\r\n");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o754);
        assert_eq!(fs::read_to_string(&outside).unwrap(), "x = 1\r\n");
        assert!(root.join("c.py").is_symlink());
    }
}
