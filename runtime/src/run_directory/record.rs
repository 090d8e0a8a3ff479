//! The record of a run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Schema version of run records. Episodes have the version of their kind of task.
pub const SCHEMA: u32 = 1;
/// Schema version of a run with compressed episodes: earlier versions refuse it, because they
/// would read the plain file alone and record the other episodes again.
pub(super) const COMPRESSED_SCHEMA: u32 = 3;

/// The settings and the environment of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// [`SCHEMA`] of the writer; 3 if some of the episodes are compressed.
    pub schema: u32,
    /// Version of fixfly.
    pub fixfly: String,
    /// When the run was first started, RFC 3339, UTC.
    pub started: String,
    /// The settings of the run, flag by flag. Together with the seed, the benchmark and the
    /// wording they must match to resume the run.
    pub config: BTreeMap<String, Value>,
    /// Seed of the run; the seed of every episode is derived from it.
    pub seed: u64,
    /// Hashes and versions that identify the benchmark.
    pub benchmark: BTreeMap<String, Value>,
    /// The wording of the conversation.
    pub templates: Wording,
    /// The sandbox's isolation, as its host describes it.
    pub isolation: String,
    /// The machine.
    pub machine: Machine,
}

/// The wording of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Wording {
    /// SHA-256 of the texts, hexadecimal.
    pub hash: String,
    /// The templates, by name.
    pub texts: BTreeMap<String, String>,
}

/// The machine of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Operating system: `Debian GNU/Linux 12 (bookworm)`.
    pub os: String,
    /// Release of the kernel.
    pub kernel: String,
    /// CPUs available to this process.
    pub cpus: usize,
    /// Memory in mebibytes.
    pub memory_mb: u64,
    /// Version of `python3`: `Python 3.11.2`.
    pub python: String,
}

impl RunRecord {
    /// The values that must match to resume a run, by a readable name.
    fn decisive(&self) -> BTreeMap<String, Value> {
        let mut values = self.config.clone();
        values.insert("seed".into(), self.seed.into());
        values.insert("templates".into(), self.templates.hash.clone().into());
        for (key, value) in &self.benchmark {
            values.insert(format!("benchmark {key}"), value.clone());
        }
        values
    }

    /// The first fact about the benchmark's source that changed: its name, the recorded value,
    /// and the value in `facts`.
    pub fn changed_source(
        &self,
        facts: &BTreeMap<String, String>,
    ) -> Option<(&'static str, String, String)> {
        ["package", "version", "source_sha256"].into_iter().find_map(|key| {
            let then = self.benchmark.get(key).and_then(Value::as_str).unwrap_or_default();
            let now = facts.get(key).map_or("", String::as_str);
            (then != now).then(|| (key, then.to_string(), now.to_string()))
        })
    }

    /// Each of those values that differs, with both versions.
    pub(super) fn differences(&self, other: &RunRecord) -> Vec<String> {
        let (then, now) = (self.decisive(), other.decisive());
        let mut keys: Vec<&String> = then.keys().chain(now.keys()).collect();
        keys.sort();
        keys.dedup();
        let say = |value: Option<&Value>| match value {
            None | Some(Value::Null) => "not set".to_string(),
            Some(value) => value.to_string(),
        };
        keys.into_iter()
            .map(|key| (key, say(then.get(key)), say(now.get(key))))
            .filter(|(_, then, now)| then != now)
            .map(|(key, then, now)| format!("{key} was {then}, now {now}"))
            .collect()
    }
}
