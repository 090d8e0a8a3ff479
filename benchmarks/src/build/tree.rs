//! The texts of a project's whole tree, its tests and documents included.

use std::fs;
use std::path::Path;

/// Larger files are data, in bytes.
const LARGEST: u64 = 4 << 20;

/// The files below `root` with one of these extensions that are UTF-8, by path, in order.
pub(super) fn texts(root: &Path, extensions: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            let extension = path.extension().and_then(|extension| extension.to_str());
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && extension.is_some_and(|extension| extensions.contains(&extension))
                && entry.metadata().is_ok_and(|facts| facts.len() <= LARGEST)
                && let Ok(text) = fs::read_to_string(&path)
            {
                let name = path.strip_prefix(root).unwrap_or(&path);
                found.push((name.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    found
}
