//! The record of a run, and the seeds of its episodes.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use fixfly_policies::Settings;
use fixfly_runtime::{Benchmark, Host, RunRecord, SCHEMA, Task, Templates, Wording, hex};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Flags, TURNS};
use crate::machine;

pub(super) fn record(
    flags: &Flags,
    model: Option<&Settings>,
    templates: &Templates,
    benchmark: BTreeMap<String, Value>,
    host: &dyn Host,
) -> RunRecord {
    let path = |path: &Path| Value::from(path.display().to_string());
    let config: [(&str, Value); 11] = [
        ("benchmark", flags.benchmark.clone().into()),
        ("benchmark_dir", flags.benchmark_dir.as_deref().map_or(Value::Null, path)),
        ("limit", flags.limit.into()),
        ("model", model.map_or(Value::Null, |model| serde_json::json!(model))),
        // Recorded as `only`, so that recorded runs can be resumed.
        ("only", flags.task_id.clone().into()),
        ("policy", flags.policy.clone().into()),
        ("replay", flags.replay.as_deref().map_or(Value::Null, path)),
        ("samples", flags.samples.into()),
        ("sandbox", flags.sandbox.clone().into()),
        ("split", flags.split.name().into()),
        ("turns", flags.turns.unwrap_or(TURNS).into()),
    ];
    RunRecord {
        schema: SCHEMA,
        fixfly: env!("CARGO_PKG_VERSION").into(),
        started: machine::now(),
        config: config.into_iter().map(|(key, value)| (key.to_string(), value)).collect(),
        seed: flags.seed,
        benchmark,
        templates: Wording { hash: templates.hash.clone(), texts: templates.texts() },
        isolation: host.isolation(),
        machine: machine::facts(),
    }
}

/// Facts that identify the split, whatever the benchmark directory.
pub(super) fn facts(benchmark: &dyn Benchmark, tasks: &[Task]) -> BTreeMap<String, Value> {
    let mut hasher = Sha256::new();
    for task in tasks {
        hasher.update(&task.id);
        hasher.update(serde_json::json!(task.statement).to_string());
    }
    let mut facts: BTreeMap<String, Value> =
        benchmark.facts().into_iter().map(|(name, fact)| (name, fact.into())).collect();
    facts.insert("tasks".to_string(), tasks.len().into());
    facts.insert("tasks_sha256".to_string(), hex(hasher.finalize()).into());
    facts
}

/// The seed of one episode, derived from these three values only.
pub(crate) fn episode_seed(seed: u64, task: impl Display, sample: u32) -> u64 {
    let digest = Sha256::digest(format!("{seed}\0{task}\0{sample}"));
    digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn seeds_are_distinct_and_stable() {
        assert_eq!(episode_seed(0, "a", 0), 10_754_738_582_441_486_377);
        let seeds = [
            episode_seed(0, "a", 0),
            episode_seed(1, "a", 0),
            episode_seed(0, "b", 0),
            episode_seed(0, "a", 1),
        ];
        assert_eq!(HashSet::from(seeds).len(), seeds.len());
    }
}
