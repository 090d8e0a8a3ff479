//! No language: a dataset that compares nothing. `benches/report_memory.rs` uses this file, too.

use fixfly_datasets::Language;

/// A language without functions.
pub(crate) struct Plain;

impl Language for Plain {
    fn tree_hash(&self, _: &str) -> Option<String> {
        None
    }

    fn shingles(&self, _: &str) -> Vec<u64> {
        Vec::new()
    }

    fn methods(&self, _: &str) -> Vec<(String, String)> {
        Vec::new()
    }

    fn without(&self, text: &str, _: &[String]) -> String {
        text.into()
    }
}
