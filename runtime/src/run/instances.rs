//! Which SWE-bench instances a run attempts, and how they are graded.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which SWE-bench instances to use, where their repositories and environments come
/// from, and how patches are graded. What is `None` or empty excludes no instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InstanceSpec {
    /// Table of instances: JSON lines, JSON or Parquet. Required.
    pub table: Option<PathBuf>,
    /// Folder of repository mirrors, or a single mirror; the default folder if `None`.
    pub repos: Option<PathBuf>,
    /// Folder of additional environment specifications.
    pub specs: Option<PathBuf>,
    /// Python interpreters, by the version that a specification names.
    pub pythons: BTreeMap<String, PathBuf>,
    /// Grading rules.
    pub rules: GradingRules,
    /// Time limit for the tests of an instance, in seconds.
    pub test_timeout: u64,
    /// Only instances of this repository.
    pub repo: Option<String>,
    /// Only instances of this version of their project.
    pub project_version: Option<String>,
    /// Only these instances.
    pub ids: Vec<String>,
    /// Only instances whose id matches this regular expression.
    pub filter: Option<String>,
    /// Of the selected instances, those from the first index to the one before the second.
    pub slice: Option<(usize, usize)>,
}

impl Default for InstanceSpec {
    fn default() -> Self {
        InstanceSpec {
            table: None,
            repos: None,
            specs: None,
            pythons: BTreeMap::new(),
            rules: GradingRules::default(),
            test_timeout: 1800,
            repo: None,
            project_version: None,
            ids: Vec::new(),
            filter: None,
            slice: None,
        }
    }
}

/// A version of SWE-bench's grading rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GradingRules {
    /// `swebench` 5.x.
    #[default]
    #[serde(rename = "5")]
    V5,
    /// `swebench` 4.1.0: a skipped test is not counted.
    #[serde(rename = "4.1")]
    V4,
}
