//! Which items a sandbox supports, for sandboxes that do not support all: found by
//! running them there, and kept beside the manifest, item by item.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fixfly_runtime::BenchmarkError;
use serde::{Deserialize, Serialize};

use crate::manifest::{Item, line, write_whole};

/// Sandboxes that support only the items that were probed successfully.
pub const PARTIAL_SANDBOXES: &[&str] = &["wasm"];

/// The result of one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemSupport {
    /// The item.
    pub id: String,
    /// Hash of its method, as in the manifest. The result is void if the hash differs.
    pub hash: String,
    /// Why the sandbox does not support it; `None` if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How many items a sandbox supports, of those that were probed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SupportCounts {
    /// The number of items that were probed.
    pub probed: usize,
    /// The number of items that it supports.
    pub supported: usize,
    /// The number of the others by reason.
    pub unsupported: BTreeMap<String, usize>,
}

/// The results of a benchmark's items in one sandbox, by item.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Support(BTreeMap<String, ItemSupport>);

impl Support {
    /// Parses results; messages call the file `name`.
    ///
    /// # Errors
    /// One sentence that names the line and the fault.
    pub fn parse(text: &str, name: &str) -> Result<Self, BenchmarkError> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
        let support = lines.map(|(at, line)| {
            let item_support: ItemSupport = serde_json::from_str(line).map_err(|why| {
                let remedy = "run `fixfly bench probe` again";
                BenchmarkError::Broken(format!("{name}, line {}: {why}; {remedy}", at + 1))
            })?;
            Ok((item_support.id.clone(), item_support))
        });
        support.collect::<Result<_, _>>().map(Support)
    }

    /// Reads the results from a file; empty if there is no file.
    ///
    /// # Errors
    /// As [`Support::parse`], or if the file cannot be read.
    pub fn read(file: &Path) -> Result<Self, BenchmarkError> {
        let name = file.display().to_string();
        match fs::read_to_string(file) {
            Ok(text) => Support::parse(&text, &name),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(Support::default()),
            Err(why) => Err(BenchmarkError::Broken(format!("{name} cannot be read: {why}"))),
        }
    }

    /// Writes the results atomically; the same results give the same bytes.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn write(&self, file: &Path) -> Result<(), BenchmarkError> {
        write_whole(file, &self.0.values().map(line).collect::<String>())
    }

    /// Adds the result of an item; replaces an earlier one.
    pub fn insert(&mut self, item_support: ItemSupport) {
        self.0.insert(item_support.id.clone(), item_support);
    }

    /// Adds the results of `others`, which take precedence.
    pub fn extend(&mut self, others: Support) {
        self.0.extend(others.0);
    }

    /// The result of this item, if its method has not changed since.
    pub fn get(&self, item: &Item) -> Option<&ItemSupport> {
        self.0.get(&item.id).filter(|item_support| item_support.hash == item.hash)
    }

    /// Counts the results of these items.
    pub fn counts<'a>(&self, items: impl IntoIterator<Item = &'a Item>) -> SupportCounts {
        let mut counts = SupportCounts::default();
        for found in items.into_iter().filter_map(|item| self.get(item)) {
            counts.probed += 1;
            match &found.why {
                None => counts.supported += 1,
                Some(why) => *counts.unsupported.entry(why.clone()).or_default() += 1,
            }
        }
        counts
    }
}

/// The file of a sandbox's results in a benchmark directory.
pub fn file(folder: &Path, sandbox: &str) -> PathBuf {
    folder.join(format!("{sandbox}.jsonl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_of_one_method_and_survive_a_file() {
        let text = "{\"id\":\"a.py::A.f\",\"hash\":\"00\"}\n{\"id\":\"a.py::A.g\",\"hash\":\"01\",\"why\":\"threads\"}\n";
        let support = Support::parse(text, "wasm.jsonl").unwrap();
        let folder = std::env::temp_dir().join(format!("fixfly-support-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = file(&folder, "wasm");
        support.write(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        assert_eq!(Support::read(&file).unwrap(), support);
        assert_eq!(Support::read(&folder.join("none")).unwrap(), Support::default());
        fs::remove_dir_all(&folder).unwrap();
        let why = Support::parse("{}", "wasm.jsonl").unwrap_err().to_string();
        assert_eq!(
            why,
            "wasm.jsonl, line 1: missing field `id` at line 1 column 2; run `fixfly bench probe` again"
        );
    }
}
