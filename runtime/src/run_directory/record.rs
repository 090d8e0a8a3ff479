//! The record of a run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Schema version of run records. Episodes have the version of their kind of task.
pub const SCHEMA: u32 = 1;

/// The settings and the environment of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// [`SCHEMA`] of the writer.
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

/// Keys of the addresses of a model's servers, in the settings of a remote model.
const ADDRESS: &str = "base_url";
const ADDRESSES: &str = "other_base_urls";

/// A model's settings as a record has them, without the addresses of its servers: the same
/// model may be served elsewhere when a run is resumed.
pub fn without_addresses(model: &Value) -> Value {
    let mut model = model.clone();
    if let Some(remote) = model.get_mut("teacher").and_then(Value::as_object_mut) {
        remote.remove(ADDRESS);
        remote.remove(ADDRESSES);
    }
    model
}

/// The addresses in a record's settings, the first one first.
fn addresses(config: &BTreeMap<String, Value>) -> Vec<&str> {
    let Some(remote) = config.get("model").and_then(|model| model.get("teacher")) else {
        return Vec::new();
    };
    let more = remote.get(ADDRESSES).and_then(Value::as_array).into_iter().flatten();
    remote.get(ADDRESS).into_iter().chain(more).filter_map(Value::as_str).collect()
}

impl RunRecord {
    /// This record with the addresses of another one's servers added; `None` if it has all
    /// of them.
    pub(super) fn with_addresses_of(&self, other: &RunRecord) -> Option<RunRecord> {
        let known = addresses(&self.config);
        let new: Vec<&str> = addresses(&other.config)
            .into_iter()
            .filter(|address| !known.contains(address))
            .collect();
        if new.is_empty() {
            return None;
        }
        let mut record = self.clone();
        let remote = record.config.get_mut("model")?.get_mut("teacher")?.as_object_mut()?;
        let first = usize::from(remote.get(ADDRESS).is_some_and(Value::is_string));
        let all: Vec<&str> = known.into_iter().skip(first).chain(new).collect();
        remote.insert(ADDRESSES.into(), all.into());
        Some(record)
    }

    /// The values that must match to resume a run, by a readable name.
    fn decisive(&self) -> BTreeMap<String, Value> {
        let mut values = self.config.clone();
        if let Some(model) = values.get_mut("model") {
            *model = without_addresses(model);
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(remote: Value) -> RunRecord {
        let model = json!({ "model": "m", "teacher": remote });
        RunRecord {
            schema: SCHEMA,
            fixfly: String::new(),
            started: String::new(),
            config: BTreeMap::from([("model".to_owned(), model)]),
            seed: 0,
            benchmark: BTreeMap::new(),
            templates: Wording::default(),
            isolation: String::new(),
            machine: Machine::default(),
        }
    }

    #[track_caller]
    fn check(then: Value, now: Value, expected: Option<Value>) {
        let (then, now) = (record(then), record(now));
        assert_eq!(then.differences(&now), Vec::<String>::new());
        let merged = then.with_addresses_of(&now);
        assert_eq!(merged.map(|merged| merged.config["model"]["teacher"].clone()), expected);
    }

    #[test]
    fn a_run_continues_with_other_servers_and_its_record_names_them_all() {
        let a = json!({ "base_url": "a", "stream": true });
        check(a.clone(), a.clone(), None);
        let both = json!({ "base_url": "a", "other_base_urls": ["b"], "stream": true });
        check(both.clone(), a.clone(), None);
        check(a.clone(), both.clone(), Some(both.clone()));
        let b = json!({ "base_url": "b", "other_base_urls": ["a", "c"], "stream": true });
        let all = json!({ "base_url": "a", "other_base_urls": ["b", "c"], "stream": true });
        check(both, b.clone(), Some(all.clone()));
        check(a, b, Some(all));
        // The address of a profile is not in the record.
        let none = json!({ "base_url": null, "profile": "vllm" });
        let c = json!({ "base_url": "c", "profile": "vllm" });
        let added = json!({ "base_url": null, "other_base_urls": ["c"], "profile": "vllm" });
        check(none.clone(), c, Some(added));
        let other = record(json!({ "base_url": null, "profile": "ollama" }));
        assert_eq!(record(none).differences(&other).len(), 1);
    }

    #[test]
    fn a_run_without_a_model_has_no_addresses() {
        let mut plain = record(json!({}));
        plain.config.insert("model".into(), Value::Null);
        assert_eq!(plain.with_addresses_of(&plain), None);
        assert_eq!(plain.differences(&plain), Vec::<String>::new());
    }
}
