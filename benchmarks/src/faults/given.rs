//! Faults whose text a published set gives: the directory has it beside the source.

use fixfly_runtime::{BenchmarkError, Split, read_text};
use serde::{Deserialize, Serialize};

use super::change::Pair;
use super::{Fault, FaultKind, Faults, file};
use crate::manifest::short_hash;
use crate::source::top_function;

/// The folder of the faulty programs, in the directory of the faults.
pub(crate) const FAULTY: &str = "faulty";

/// What a published set states about a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// The name of its task in the set.
    pub task_id: String,
    /// Its kind, in the set's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bug_type: Option<String>,
}

impl Fault {
    /// The fault of a function whose faulty text is given. Its tests were run and detected
    /// it.
    pub(crate) fn given(of: &str, split: Split, faulty: &str, given: Given) -> Fault {
        let hash = short_hash(faulty);
        let id = format!("{of}#{}", &hash[..6]);
        Fault { id, split, kind: FaultKind::Given, hash, given: Some(given) }
    }
}

impl Faults {
    /// The function with a given fault, from the folder of the faulty programs.
    pub(super) fn given(&self, fault: &Fault) -> Result<Pair, BenchmarkError> {
        let path = self.folder.join(FAULTY).join(file(fault.of()).unwrap_or_default());
        let broken = |why: String| {
            let remedy = "run `fixfly bench import` again";
            BenchmarkError::Broken(format!("{}: {why}; {remedy}", path.display()))
        };
        let place = self.places.get(fault.of());
        let place = place.ok_or_else(|| broken(format!("the source has no {}", fault.of())))?;
        let name = &place.method.name;
        let text = read_text(&path).map_err(|why| broken(why.to_string()))?;
        let found = top_function(&text, name).map_err(|why| broken(why.to_string()))?;
        let faulty = text[found.span].to_string();
        if short_hash(&faulty) != fault.hash {
            return Err(broken(format!("`{name}` is not the faulty function of the manifest")));
        }
        Ok(Pair { faulty, truth: place.truth() })
    }
}
