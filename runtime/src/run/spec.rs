//! The specification of a run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::instances::InstanceSpec;
use crate::benchmark::Split;
use crate::run_directory::{SHARD, read_run};
use crate::settings::Settings;
use crate::shard::Shard;
use crate::statement::{FaultOptions, History, TaskKind};
use crate::templates::{TemplateError, Templates};

/// The specification of a run. The flags of `fixfly run`, the runs of a sweep and
/// checkpoint evaluations are all converted to it; [`RunSpec::config`] is the part that
/// `run.json` records.
///
/// ```
/// use fixfly_runtime::RunSpec;
///
/// let spec = RunSpec {
///     benchmark: "django".into(),
///     policy: "retrieval".into(),
///     limit: Some(20),
///     output: "runs/retrieval".into(),
///     ..RunSpec::default()
/// };
/// let text = serde_json::to_string(&spec).unwrap();
/// assert_eq!(serde_json::from_str::<RunSpec>(&text).unwrap(), spec);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunSpec {
    /// Name of the benchmark.
    pub benchmark: String,
    /// Its directory; the default one if `None`.
    pub benchmark_dir: Option<PathBuf>,
    /// The split.
    pub split: Split,
    /// A pattern that task ids must match: `*` is any text, `?` is one character.
    pub task_id: Option<String>,
    /// Maximum number of tasks.
    pub limit: Option<u32>,
    /// The part of these tasks that is run; all if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// Episodes per task.
    pub samples: u32,
    /// Maximum turns per episode; if `None`, the default of the kind of task.
    pub turns: Option<u32>,
    /// Name of the policy.
    pub policy: String,
    /// The recorded run that the policy replays.
    pub replay: Option<PathBuf>,
    /// The model that the policy uses.
    pub model: Option<Settings>,
    /// Name of the sandbox.
    pub sandbox: String,
    /// Docker engines for the sandbox `docker`; that of `DOCKER_HOST` if empty. They may
    /// differ when a run is resumed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub docker_hosts: Vec<String>,
    /// Seed of the run; the seed of each episode is derived from it.
    pub seed: u64,
    /// Settings for issues only.
    pub issues: Option<IssueSpec>,
    /// Options of tasks that show a faulty method.
    pub fault_options: FaultOptions,
    /// Run directory.
    pub output: PathBuf,
    /// Folder of prompts that replace the built-in ones.
    pub prompts: Option<PathBuf>,
    /// Episodes in parallel; one per CPU if `None`.
    pub jobs: Option<usize>,
    /// Whether to run in a sandbox that lacks a required protection.
    pub allow_weak: bool,
    /// Whether to continue if the first episodes hold no usable answer.
    pub keep_going: bool,
    /// Whether to attempt the tasks one after the other, in the benchmark's order, and to stop
    /// after the first that is solved.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub until_solved: bool,
    /// Whether to compress the recorded episodes. A run can be resumed with or without.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub compress: bool,
}

impl Default for RunSpec {
    fn default() -> Self {
        RunSpec {
            benchmark: String::new(),
            benchmark_dir: None,
            split: Split::Benchmark,
            task_id: None,
            limit: None,
            shard: None,
            samples: 1,
            turns: None,
            policy: "retrieval".into(),
            replay: None,
            model: None,
            sandbox: "local".into(),
            docker_hosts: Vec::new(),
            seed: 0,
            issues: None,
            fault_options: FaultOptions::default(),
            output: PathBuf::new(),
            prompts: None,
            jobs: None,
            allow_weak: false,
            keep_going: false,
            until_solved: false,
            compress: false,
        }
    }
}

/// Settings that only runs of issues have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssueSpec {
    /// The instances, their environments and how patches are graded.
    pub instances: InstanceSpec,
    /// Name of the tool bundle.
    pub bundle: String,
    /// The tools in it.
    pub tools: Vec<String>,
    /// Instructions for calling tools; with native tool calls only how to submit with a lone
    /// shell, else empty.
    pub manual: String,
    /// Which earlier observations stay in the prompt.
    pub history: History,
    /// Maximum tokens per episode, prompts and answers together.
    pub tokens: Option<u64>,
    /// Maximum seconds per episode.
    pub seconds: Option<u64>,
}

impl RunSpec {
    /// The number of episodes in parallel.
    pub fn jobs(&self) -> usize {
        match self.until_solved {
            true => 1,
            false => self.jobs.unwrap_or_else(super::cpus),
        }
    }

    /// The wording of its conversations about tasks of a kind. A run that an earlier version
    /// started keeps the wording that was built in then.
    ///
    /// # Errors
    /// [`TemplateError`] if a custom prompt cannot be used.
    pub fn templates(&self, kind: TaskKind) -> Result<Templates, TemplateError> {
        if self.prompts.is_none()
            && let Ok(run) = read_run(&self.output)
            && kind.had_prompts(&run.templates.hash)
        {
            return Templates::recorded(&run.templates.texts);
        }
        Templates::load(kind, self.prompts.as_deref())
    }

    /// The settings that must match to resume a run, as `run.json` records them. `turns` is
    /// the turn limit of the episodes. The keys of recorded runs never change.
    pub fn config(&self, turns: u32) -> BTreeMap<String, Value> {
        let mut config = json!({
            "benchmark": self.benchmark,
            "benchmark_dir": self.benchmark_dir,
            "limit": self.limit,
            "model": self.model,
            "only": self.task_id,
            "policy": self.policy,
            "replay": self.replay,
            "samples": self.samples,
            "sandbox": self.sandbox,
            "split": self.split,
            "turns": turns,
        });
        if let Some(issues) = &self.issues {
            config["tools"] = json!(issues.bundle);
            config["history"] = json!(issues.history.to_string());
            config["episode_tokens"] = json!(issues.tokens);
            config["episode_seconds"] = json!(issues.seconds);
        }
        if !self.fault_options.is_default() {
            config["fault_options"] = json!(self.fault_options);
        }
        if let Some(shard) = self.shard {
            config[SHARD] = json!(shard);
        }
        let Value::Object(config) = config else { return BTreeMap::new() };
        config.into_iter().collect()
    }
}
