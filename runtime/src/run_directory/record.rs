//! The record of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RunError;
use crate::shard::{Shard, Shards};

/// Schema version of run records. Episodes have the version of their kind of task.
pub const SCHEMA: u32 = 1;
/// Schema version of a run with compressed episodes: earlier versions refuse it, because they
/// would read the plain file alone and record the other episodes again.
pub(super) const COMPRESSED_SCHEMA: u32 = 3;
/// The key of a shard among the settings of a run.
pub(crate) const SHARD: &str = "shard";
/// Keys of settings in which the parts of one run may differ. The folder of the benchmark may,
/// because hashes identify its tasks and its source.
const OF_PARTS: [&str; 2] = [SHARD, "benchmark_dir"];

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
    /// How many tasks there are; `None` in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskCounts>,
    /// The runs that were merged into this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<MergedRun>,
}

/// How many tasks a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCounts {
    /// Tasks that the split, the pattern, the sandbox and the limit leave.
    pub selected: usize,
    /// Those of this shard; `None` if the run is not a shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<usize>,
}

/// A run that was merged into another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MergedRun {
    /// The shard that it was, such as `2/4`; `None` if it was not a shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub shard: Option<Shard>,
    /// Its directory.
    pub run: String,
    /// Version of fixfly.
    pub fixfly: String,
    /// When it was first started, RFC 3339, UTC.
    pub started: String,
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

    /// The shard that the run is.
    pub fn shard(&self) -> Option<Shard> {
        self.config.get(SHARD).and_then(Value::as_str).and_then(|text| text.parse().ok())
    }

    /// The name of the model, or of a policy without one.
    pub fn model_or_policy(&self) -> String {
        let model = self.config.get("model").and_then(|model| model.get("model"));
        let name = model.or(self.config.get("policy")).and_then(Value::as_str);
        name.unwrap_or_default().into()
    }

    /// The shards that the run is or has.
    pub(super) fn all_shards(&self) -> impl Iterator<Item = Shard> {
        self.shard().into_iter().chain(self.merged.iter().filter_map(|run| run.shard))
    }

    /// The number of episodes that the run has in the end, if it is recorded.
    pub fn expected_episodes(&self) -> Option<usize> {
        let tasks = self.tasks.map(|tasks| tasks.shard.unwrap_or(tasks.selected))?;
        let samples = self.config.get("samples").and_then(Value::as_u64)?;
        tasks.checked_mul(usize::try_from(samples).ok()?)
    }

    /// Which shards of the run are here; `None` if the run was not divided. If all of its
    /// `episodes` are recorded, no shard is missing, even if the run was continued as a whole.
    pub fn shards(&self, episodes: usize) -> Option<Shards> {
        let of = self.all_shards().next()?.of();
        let here: BTreeSet<u32> = self.all_shards().map(Shard::index).collect();
        let whole = self.shard().is_none()
            && self.expected_episodes().is_some_and(|expected| episodes >= expected);
        Some(Shards { of, here: if whole { (1..=of).collect() } else { here } })
    }

    /// This run as a part of another one: itself, or the parts that it has.
    pub(super) fn parts(&self, run: &Path) -> Vec<MergedRun> {
        if !self.merged.is_empty() {
            return self.merged.clone();
        }
        let run = run.canonicalize().unwrap_or_else(|_| run.to_path_buf());
        vec![MergedRun {
            shard: self.shard(),
            run: run.display().to_string(),
            fixfly: self.fixfly.clone(),
            started: self.started.clone(),
            isolation: self.isolation.clone(),
            machine: self.machine.clone(),
        }]
    }

    /// The same run, undivided.
    pub(super) fn undivided(mut self) -> RunRecord {
        self.config.remove(SHARD);
        self.tasks = self.tasks.map(|tasks| TaskCounts { shard: None, ..tasks });
        self
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
        let differing = differing(&self.decisive(), &other.decisive());
        differing
            .into_iter()
            .map(|(key, then, now)| format!("{key} was {then}, now {now}"))
            .collect()
    }

    /// Refuses to continue the run in `path` by another record.
    pub(super) fn must_match(&self, other: &RunRecord, path: &Path) -> Result<(), RunError> {
        let differences = self.differences(other);
        match differences.is_empty() {
            true => Ok(()),
            false => {
                Err(RunError::Different { path: path.into(), differences: differences.join("; ") })
            }
        }
    }

    /// Each value that differs and that the parts of one run have in common.
    pub(super) fn conflicts(&self, other: &RunRecord) -> Vec<String> {
        let values = |record: &RunRecord| {
            let mut values = record.decisive();
            values.retain(|key, _| !OF_PARTS.contains(&&**key));
            // Records of earlier versions have no number.
            if let (Some(own), Some(_), Some(_)) = (record.tasks, self.tasks, other.tasks) {
                values.insert("number of tasks".into(), own.selected.into());
            }
            values
        };
        let differing = differing(&values(self), &values(other));
        differing
            .into_iter()
            .map(|(key, one, other)| format!("{key}: {one}, and {other}"))
            .collect()
    }
}

/// Each key whose values differ, with both values.
fn differing(
    one: &BTreeMap<String, Value>,
    other: &BTreeMap<String, Value>,
) -> Vec<(String, String, String)> {
    let say = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "not set".to_string(),
        Some(value) => value.to_string(),
    };
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let both = keys.into_iter().map(|key| (key.clone(), say(one.get(key)), say(other.get(key))));
    both.filter(|(_, one, other)| one != other).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(remote: Value) -> RunRecord {
        let model = json!({ "model": "m", "teacher": remote });
        let config = BTreeMap::from([("model".to_owned(), model)]);
        RunRecord { config, ..crate::run_directory::tests::record() }
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
