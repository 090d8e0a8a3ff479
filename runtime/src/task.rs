//! Tasks, and the sandboxes that they need.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::statement::Statement;

/// A task. It contains only what the policy may see: ground truth and hidden tests stay in
/// the benchmark, which finds them by `id`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Unique within the benchmark, stable across machines, e.g.
    /// `django/utils/html.py::MLStripper.get_data`.
    pub id: String,
    /// The benchmark's name, e.g. `django`.
    pub benchmark: String,
    /// What the task asks for.
    pub statement: Statement,
    /// The sandbox that the tools act on.
    pub sandbox: SandboxSpec,
    /// Names of the tools that the policy may call.
    pub tools: Vec<String>,
    /// Limits of the attempt.
    pub budget: Budget,
}

/// The sandbox that a task needs. Every kind of sandbox provides the same environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SandboxSpec {
    /// Host folders that are mounted inside.
    pub mounts: Vec<Mount>,
    /// All environment variables: none are inherited.
    pub env: BTreeMap<String, String>,
    /// Absolute path that commands start in.
    pub workdir: String,
    /// Resource limits.
    pub limits: Limits,
    /// How long a sandbox is used.
    pub lifetime: Lifetime,
    /// The container image, if the task needs a specific one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Debian packages, in addition to Python, whose programs the task calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
}

/// A host folder that is mounted inside a sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Mount {
    /// Absolute host path.
    pub from: PathBuf,
    /// Absolute path inside.
    pub to: String,
    /// Whether the mount can be written to, and what happens to writes.
    pub mode: MountMode,
}

/// Whether a mount can be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MountMode {
    /// Writes fail.
    ReadOnly,
    /// Writes succeed and are discarded with the sandbox.
    Private,
}

/// Resource limits of a sandbox. Memory, processes and disk are limits of the whole
/// sandbox; the others apply to each process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Memory in mebibytes.
    pub memory_mb: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Temporary disk space in mebibytes.
    pub disk_mb: u64,
    /// Maximum file size in mebibytes.
    pub file_mb: u64,
    /// CPU seconds.
    #[serde(default = "cpu_seconds")]
    pub cpu_seconds: u64,
    /// Open files.
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

/// How long a sandbox is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// Each tool call may get another one, because actions leave nothing behind.
    Turn,
    /// One sandbox serves all turns of an episode.
    #[default]
    Episode,
}
