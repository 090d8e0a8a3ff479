//! Flags that select SWE-bench instances and configure their environments.

use std::path::PathBuf;

use clap::{Args, value_parser};
use fixfly_benchmarks::OpenError;
use fixfly_benchmarks::swebench::{Grader, Instance, instance};
use fixfly_runtime::{GradingRules, Host, InstanceSpec};
use regex::Regex;

use crate::failure::Usage;
use crate::terminal::Terminal;

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "SWE-bench options")]
#[group(skip)]
pub(crate) struct Flags {
    /// Table of instances: JSON lines, JSON, CSV or Parquet
    #[arg(long, value_name = "FILE")]
    instances: Option<PathBuf>,

    /// Folder of repository mirrors, or a single mirror
    #[arg(long, value_name = "DIR", env = "FIXFLY_REPOS", hide_env_values = true)]
    repos: Option<PathBuf>,

    /// Folder of additional environment specifications
    #[arg(long, value_name = "DIR")]
    specs: Option<PathBuf>,

    /// Python interpreter to use for a version named in a specification
    #[arg(long, value_name = "VERSION=PATH", value_parser = python)]
    python: Vec<(String, PathBuf)>,

    /// Grading rules: those of swebench 5.x or 4.1.0
    #[arg(long, value_name = "VERSION", default_value = "5", value_parser = rules)]
    rules: GradingRules,

    /// Time limit for the tests of an instance, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = value_parser!(u64).range(1..))]
    test_timeout: u64,

    /// Only instances of this repository
    #[arg(long, value_name = "OWNER/NAME")]
    repo: Option<String>,

    /// Only instances of this version of their project
    #[arg(long, value_name = "VERSION")]
    project_version: Option<String>,

    /// Only this instance; may be repeated
    #[arg(long, value_name = "ID")]
    instance_id: Vec<String>,

    /// Only instances whose id matches this regular expression
    #[arg(long, value_name = "REGEX")]
    filter: Option<Regex>,

    /// Only this slice of the selected instances: `0:50`, `50:`, `:10`
    #[arg(long, value_name = "FROM:TO", value_parser = slice)]
    slice: Option<(usize, usize)>,
}

fn python(text: &str) -> Result<(String, PathBuf), String> {
    let (version, path) =
        text.split_once('=').ok_or("it must be VERSION=PATH, e.g. 3.9=/usr/bin/python3.9")?;
    Ok((version.to_string(), path.into()))
}

fn slice(text: &str) -> Result<(usize, usize), String> {
    let wrong = "it must be FROM:TO, e.g. 0:50";
    let (from, to) = text.split_once(':').ok_or(wrong)?;
    let number = |text: &str, otherwise| match text {
        "" => Ok(otherwise),
        text => text.parse::<usize>().map_err(|_| wrong.to_string()),
    };
    Ok((number(from, 0)?, number(to, usize::MAX)?))
}

fn rules(text: &str) -> Result<GradingRules, String> {
    match text {
        "5" => Ok(GradingRules::V5),
        "4.1" => Ok(GradingRules::V4),
        _ => Err("it must be 5 or 4.1".into()),
    }
}

impl Flags {
    /// Whether a table of instances was given.
    pub(crate) fn given(&self) -> bool {
        self.instances.is_some()
    }

    /// What these flags say.
    pub(crate) fn spec(&self) -> InstanceSpec {
        InstanceSpec {
            table: self.instances.clone(),
            repos: self.repos.clone(),
            specs: self.specs.clone(),
            pythons: self.python.iter().cloned().collect(),
            rules: self.rules,
            test_timeout: self.test_timeout,
            repo: self.repo.clone(),
            project_version: self.project_version.clone(),
            ids: self.instance_id.clone(),
            filter: self.filter.as_ref().map(Regex::to_string),
            slice: self.slice,
        }
    }

    /// The selected instances.
    pub(crate) fn selected(&self) -> anyhow::Result<Vec<Instance>> {
        instance::selected(&self.spec()).map_err(opening)
    }

    /// Prepares the instances for grading in sandboxes of `host`.
    pub(crate) async fn open(
        &self,
        instances: Vec<Instance>,
        host: &dyn Host,
        terminal: &Terminal,
    ) -> anyhow::Result<Grader> {
        let bar = terminal.doing("preparing the instances");
        let say = |what: &str| bar.set_message(format!("preparing {what}"));
        let grader = Grader::prepare(instances, &self.spec(), host, &say).await;
        bar.finish_and_clear();
        Ok(grader?)
    }
}

pub(crate) fn opening(error: OpenError) -> anyhow::Error {
    match error {
        OpenError::Usage(why) => Usage(why).into(),
        OpenError::Benchmark(why) => why.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        assert_eq!(rules("4.1"), Ok(GradingRules::V4));
        assert!(rules("4").is_err());
        assert_eq!(slice("0:50"), Ok((0, 50)));
        assert_eq!(slice(":"), Ok((0, usize::MAX)));
        assert!(slice("5").is_err() && slice("a:b").is_err());
        assert!(python("3.9").is_err());
    }
}
