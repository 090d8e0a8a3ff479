//! Which items a sandbox can serve that cannot serve all: found by running
//! them there, and kept beside the manifest, item by item.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fixfly_runtime::BenchmarkError;
use serde::{Deserialize, Serialize};

use crate::manifest::{Item, line, write_whole};

/// Sandboxes that serve what was found to be served, and nothing else.
pub const PARTIAL: &[&str] = &["wasm"];

/// What was found of one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// The item.
    pub id: String,
    /// Hash of its method, as in the manifest: of another one this says nothing.
    pub hash: String,
    /// Why the sandbox cannot serve it; none where it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What was found of a benchmark's items in one sandbox, by item.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fits(BTreeMap<String, Fit>);

impl Fits {
    /// Reads facts; `name` stands for the file in messages.
    ///
    /// # Errors
    /// One sentence that names the line and the fault.
    pub fn parse(text: &str, name: &str) -> Result<Self, BenchmarkError> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
        let fits = lines.map(|(at, line)| {
            let fit: Fit = serde_json::from_str(line).map_err(|why| {
                let mend = "run `fixfly bench probe` again";
                BenchmarkError::Broken(format!("{name}, line {}: {why}; {mend}", at + 1))
            })?;
            Ok((fit.id.clone(), fit))
        });
        fits.collect::<Result<_, _>>().map(Fits)
    }

    /// Reads them from a file; nothing where there is none.
    ///
    /// # Errors
    /// As [`Fits::parse`]; a file that is there and cannot be read.
    pub fn read(file: &Path) -> Result<Self, BenchmarkError> {
        let name = file.display().to_string();
        match fs::read_to_string(file) {
            Ok(text) => Fits::parse(&text, &name),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(Fits::default()),
            Err(why) => Err(BenchmarkError::Broken(format!("{name} cannot be read: {why}"))),
        }
    }

    /// Writes them, the same bytes for the same facts, whole or not at all.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn write(&self, file: &Path) -> Result<(), BenchmarkError> {
        write_whole(file, &self.0.values().map(line).collect::<String>())
    }

    /// Adds what was found of an item, or takes it in place of what was there.
    pub fn insert(&mut self, fit: Fit) {
        self.0.insert(fit.id.clone(), fit);
    }

    /// What `others` say counts where they say something.
    pub fn extend(&mut self, others: Fits) {
        self.0.extend(others.0);
    }

    /// What was found of that item as it is now.
    pub fn get(&self, item: &Item) -> Option<&Fit> {
        self.0.get(&item.id).filter(|fit| fit.hash == item.hash)
    }
}

/// Where a benchmark directory keeps what was found of a sandbox.
pub fn file(folder: &Path, sandbox: &str) -> PathBuf {
    folder.join(format!("{sandbox}.jsonl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_of_one_method_and_survive_a_file() {
        let text = "{\"id\":\"a.py::A.f\",\"hash\":\"00\"}\n{\"id\":\"a.py::A.g\",\"hash\":\"01\",\"why\":\"threads\"}\n";
        let fits = Fits::parse(text, "wasm.jsonl").unwrap();
        let folder = std::env::temp_dir().join(format!("fixfly-fits-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = file(&folder, "wasm");
        fits.write(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        assert_eq!(Fits::read(&file).unwrap(), fits);
        assert_eq!(Fits::read(&folder.join("none")).unwrap(), Fits::default());
        fs::remove_dir_all(&folder).unwrap();
        let why = Fits::parse("{}", "wasm.jsonl").unwrap_err().to_string();
        assert_eq!(
            why,
            "wasm.jsonl, line 1: missing field `id` at line 1 column 2; run `fixfly bench probe` again"
        );
    }
}
