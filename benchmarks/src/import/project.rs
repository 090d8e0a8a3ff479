//! The folders of an imported set: a project of the correct programs and their tests, and
//! beside it the faulty programs.

use std::fs;
use std::path::{Path, PathBuf};

use fixfly_runtime::{BenchmarkError, sha256};
use serde::{Deserialize, Serialize};

use super::set::Set;
use crate::faults;
use crate::manifest::{Source, line, write_whole};

/// What is being imported: the same again resumes a stopped import.
const STAMP: &str = "import.json";

#[derive(PartialEq, Serialize, Deserialize)]
struct Stamp {
    set: String,
    sha256: String,
}

/// Writes the folders of a set, and returns where its source comes from.
///
/// # Errors
/// One sentence if the folder has something else, or cannot be written.
pub(super) fn write(folder: &Path, set: &Set) -> Result<Source, BenchmarkError> {
    let stamp = Stamp { set: set.name.to_string(), sha256: hash(set) };
    refuse_others(folder, &stamp)?;
    fs::create_dir_all(folder).map_err(|why| unwritable(folder, &why))?;
    write_whole(&folder.join(STAMP), &line(&stamp))?;
    let write = |file: PathBuf, text: &str| {
        let parent = file.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|why| unwritable(parent, &why))?;
        write_whole(&file, text)
    };
    let source = folder.join("source");
    for (file, text) in &set.files {
        write(source.join(file), text)?;
    }
    for program in &set.programs {
        write(source.join(&program.file), &program.correct)?;
        write(folder.join(faults::FAULTY).join(&program.file), &program.faulty)?;
    }
    Ok(Source { package: set.name.to_string(), version: String::new(), sha256: stamp.sha256 })
}

/// Refuses a folder that is neither new, nor empty, nor that of a stopped import of this set.
fn refuse_others(folder: &Path, stamp: &Stamp) -> Result<(), BenchmarkError> {
    let there = fs::read_to_string(folder.join(STAMP)).unwrap_or_default();
    let is_same = serde_json::from_str(&there).is_ok_and(|there: Stamp| there == *stamp);
    let is_finished = folder.join(faults::MANIFEST).exists();
    let is_free =
        !folder.exists() || fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if is_free || is_same && !is_finished {
        return Ok(());
    }
    Err(BenchmarkError::Broken(format!(
        "{} exists; name a new or an empty folder with -o, or delete it",
        folder.display()
    )))
}

fn hash(set: &Set) -> String {
    let programs = set.programs.iter().flat_map(|p| [&p.file, &p.correct, &p.faulty]);
    let files = set.files.iter().flat_map(|(file, text)| [file, text]);
    let all: Vec<&str> = programs.chain(files).map(String::as_str).collect();
    sha256(all.join("\0"))
}

pub(super) fn unwritable(path: &Path, why: &std::io::Error) -> BenchmarkError {
    BenchmarkError::Broken(format!("{} cannot be written: {why}", path.display()))
}
