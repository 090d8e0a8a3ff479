//! Flags that select SWE-bench instances and configure their environments.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};
use fixfly_benchmarks::swebench::environment::Pythons;
use fixfly_benchmarks::swebench::{
    Grader, Grading, Instance, Mirrors, Rules, Table, UnreadableRow, instance,
};
use fixfly_runtime::Host;
use indicatif::ProgressBar;
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
    #[arg(long, value_name = "VERSION")]
    rules: Option<Version>,

    /// Time limit for the tests of an instance, in seconds [default: 1800]
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..))]
    test_timeout: Option<u64>,

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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Version {
    #[value(name = "5")]
    V5,
    #[value(name = "4.1")]
    V4,
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

/// Number of rows that a warning names.
const NAMED: usize = 5;

/// Warns of rows that were left out.
pub(crate) fn warn_of(unreadable: &[UnreadableRow]) {
    for row in unreadable.iter().take(NAMED) {
        tracing::warn!("{}; the row is left out", row.why);
    }
    if unreadable.len() > NAMED {
        tracing::warn!("{} more rows are left out", unreadable.len() - NAMED);
    }
}

impl Flags {
    /// Whether a table of instances was given.
    pub(crate) fn given(&self) -> bool {
        self.instances.is_some()
    }

    /// The selected instances.
    pub(crate) fn chosen(&self) -> anyhow::Result<Vec<Instance>> {
        let file = self
            .instances
            .as_ref()
            .ok_or_else(|| Usage("name the table of instances with --instances FILE".into()))?;
        let Table { rows: all, unreadable } = instance::read(file)?;
        let is_missing = |id: &&String| !all.iter().any(|instance| instance.id == **id);
        if let Some(missing) = self.instance_id.iter().find(is_missing) {
            let row = unreadable.iter().find(|row| row.id.as_ref() == Some(missing));
            return Err(Usage(match row {
                Some(row) => row.why.clone(),
                None => format!("{}: there is no instance {missing}", file.display()),
            })
            .into());
        }
        warn_of(&unreadable);
        let filter = instance::Filter {
            repo: self.repo.clone(),
            version: self.project_version.clone(),
            ids: self.instance_id.clone(),
            pattern: self.filter.clone(),
            slice: self.slice,
        };
        let all = filter.apply(all);
        if all.is_empty() {
            return Err(
                Usage(format!("these flags select no instance of {}", file.display())).into()
            );
        }
        Ok(all)
    }

    /// Prepares the instances for grading in sandboxes of `host`.
    pub(crate) async fn open(
        &self,
        instances: Vec<Instance>,
        host: &dyn Host,
        terminal: &Terminal,
    ) -> anyhow::Result<Grader> {
        let bar = terminal.show(ProgressBar::new_spinner());
        bar.tick_every(Duration::from_millis(200));
        let images = instance::offered_images(&instances, host).await;
        let grading = Grading { images, ..self.grading() };
        let say = |what: &str| bar.set_message(format!("preparing {what}"));
        let grader = Grader::open(instances, grading, &say);
        bar.finish_and_clear();
        Ok(grader?)
    }

    /// How instances are graded.
    pub(crate) fn grading(&self) -> Grading {
        let usual = || fixfly_runtime::home().join("swebench/repos");
        Grading {
            mirrors: Mirrors { folder: self.repos.clone().unwrap_or_else(usual) },
            specs: self.specs.clone(),
            pythons: self.python.iter().cloned().collect::<Pythons>(),
            rules: match self.rules {
                Some(Version::V4) => Rules::V4,
                Some(Version::V5) | None => Rules::V5,
            },
            timeout: Duration::from_secs(self.test_timeout.unwrap_or(1800)),
            images: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices() {
        assert_eq!(slice("0:50"), Ok((0, 50)));
        assert_eq!(slice(":"), Ok((0, usize::MAX)));
        assert!(slice("5").is_err() && slice("a:b").is_err());
        assert!(python("3.9").is_err());
    }
}
