//! What to run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::benchmark::Split;
use crate::run_directory::read_run;
use crate::settings::Settings;
use crate::statement::{History, TaskKind};
use crate::templates::{TemplateError, Templates};

/// What to run. The flags of `fixfly run`, the runs of a sweep and the evaluation
/// of a checkpoint are all made into this; [`RunSpec::config`] is what `run.json`
/// records of it.
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
    /// Its directory, if not the default one.
    pub benchmark_dir: Option<PathBuf>,
    /// Part of the benchmark.
    pub split: Split,
    /// Only tasks whose id matches this pattern: `*` is any text, `?` one character.
    pub task_id: Option<String>,
    /// At most this many tasks.
    pub limit: Option<u32>,
    /// Episodes of each task.
    pub samples: u32,
    /// Turns of an episode at most; the default of the kind of task if `None`.
    pub turns: Option<u32>,
    /// Name of the policy.
    pub policy: String,
    /// The recorded run that the policy replays.
    pub replay: Option<PathBuf>,
    /// The model that the policy asks.
    pub model: Option<Settings>,
    /// Name of the sandbox.
    pub sandbox: String,
    /// Seed of the run; the seed of each episode is derived from it.
    pub seed: u64,
    /// What applies to issues only.
    pub issues: Option<IssueSpec>,
    /// Run directory.
    pub output: PathBuf,
    /// Folder of prompts that replace the built-in ones.
    pub prompts: Option<PathBuf>,
    /// Episodes at a time; one for each CPU if `None`.
    pub jobs: Option<usize>,
    /// Whether to run in a sandbox that lacks a required protection.
    pub allow_weak: bool,
}

impl Default for RunSpec {
    fn default() -> Self {
        RunSpec {
            benchmark: String::new(),
            benchmark_dir: None,
            split: Split::Benchmark,
            task_id: None,
            limit: None,
            samples: 1,
            turns: None,
            policy: "retrieval".into(),
            replay: None,
            model: None,
            sandbox: "local".into(),
            seed: 0,
            issues: None,
            output: PathBuf::new(),
            prompts: None,
            jobs: None,
            allow_weak: false,
        }
    }
}

/// What a run of issues needs beside what every run needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssueSpec {
    /// Name of the bundle of tools.
    pub bundle: String,
    /// The tools in it.
    pub tools: Vec<String>,
    /// How tools are called in text; empty if the model calls them natively.
    pub manual: String,
    /// Which earlier observations stay in the prompt.
    pub history: History,
    /// Tokens of an episode at most, prompts and answers together.
    pub tokens: Option<u64>,
    /// Seconds of an episode at most.
    pub seconds: Option<u64>,
}

impl RunSpec {
    /// The number of episodes at a time.
    pub fn jobs(&self) -> usize {
        self.jobs.unwrap_or_else(super::cpus)
    }

    /// The kind of its tasks.
    pub fn kind(&self) -> TaskKind {
        match self.issues {
            Some(_) => TaskKind::Issue,
            None => TaskKind::Method,
        }
    }

    /// The wording of its conversations. A run that an earlier version started keeps
    /// the wording that was built in then.
    ///
    /// # Errors
    /// [`TemplateError`] if a prompt of the user's cannot be used.
    pub fn templates(&self) -> Result<Templates, TemplateError> {
        if self.prompts.is_none()
            && let Ok(run) = read_run(&self.output)
            && self.kind().had_prompts(&run.templates.hash)
        {
            return Templates::recorded(&run.templates.texts);
        }
        Templates::load(self.kind(), self.prompts.as_deref())
    }

    /// What decides whether a command resumes a run, as `run.json` records it.
    /// `turns`: the turns of its episodes. The keys of recorded runs never change.
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
        let Value::Object(config) = config else { return BTreeMap::new() };
        config.into_iter().collect()
    }
}
