//! What a policy is asked to do, and the world it is asked to do it in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::statement::Statement;

/// One piece of work. Holds only what the policy may see: ground truth and
/// hidden tests stay in the benchmark, found there by `id`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Unique within the benchmark, stable across machines, e.g.
    /// `django/utils/html.py::MLStripper.get_data`.
    pub id: String,
    /// The benchmark's name, e.g. `django`.
    pub benchmark: String,
    /// What is asked.
    pub statement: Statement,
    /// The world the tools act in.
    pub sandbox: SandboxSpec,
    /// Names of the tools the policy may call.
    pub tools: Vec<String>,
    /// When the attempt stops.
    pub budget: Budget,
}

/// The world a task needs. Sandboxes make it the same wherever they run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SandboxSpec {
    /// Host folders shown inside.
    pub mounts: Vec<Mount>,
    /// The whole environment: nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Absolute path commands start in.
    pub workdir: String,
    /// What the sandbox may use at most.
    pub limits: Limits,
    /// How long one opened sandbox is needed.
    pub lifetime: Lifetime,
    /// The image of its containers, where it needs one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Debian packages beside Python whose programs it calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
}

/// A host folder shown at a path inside the sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Mount {
    /// Absolute host path.
    pub from: PathBuf,
    /// Absolute path inside.
    pub to: String,
    /// Whether, and where, writes go.
    pub mode: MountMode,
}

/// Whether a mount can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MountMode {
    /// Writes fail.
    ReadOnly,
    /// Writes succeed, stay in this sandbox and are gone with it.
    Private,
}

/// What a sandbox may use at most. Memory, processes and disk count for the
/// whole sandbox; the rest for each process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Memory, mebibytes.
    pub memory_mb: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Temporary disk space, mebibytes.
    pub disk_mb: u64,
    /// Largest single file, mebibytes.
    pub file_mb: u64,
    /// Seconds on a processor.
    #[serde(default = "cpu_seconds")]
    pub cpu_seconds: u64,
    /// Files open at once.
    #[serde(default = "open_files")]
    pub open_files: u64,
}

fn cpu_seconds() -> u64 {
    3600
}

fn open_files() -> u64 {
    1024
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory_mb: 4096,
            processes: 256,
            disk_mb: 256,
            file_mb: 64,
            cpu_seconds: cpu_seconds(),
            open_files: open_files(),
        }
    }
}

/// How long one opened sandbox is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// Each tool call may get another one: actions leave nothing behind.
    Turn,
    /// The same one for all turns of an episode.
    #[default]
    Episode,
}
