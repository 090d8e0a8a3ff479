//! `fixfly bench fetch-repo`.

use std::path::PathBuf;

use clap::Args;
use fixfly_benchmarks::swebench::Mirrors;

use crate::failure::Usage;
use crate::terminal::{Terminal, print};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly bench fetch-repo django/django
  fixfly bench fetch-repo django/django --repos ~/mirrors")]
pub(crate) struct Flags {
    /// GitHub repository
    #[arg(value_name = "OWNER/NAME")]
    repo: String,

    /// Folder of mirrors [default: in FIXFLY_HOME]
    #[arg(long, value_name = "DIR", env = "FIXFLY_REPOS", hide_env_values = true)]
    repos: Option<PathBuf>,
}

pub(crate) fn fetch(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let parts: Vec<&str> = flags.repo.split('/').collect();
    let is_plain = |part: &&str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if parts.len() != 2 || !parts.iter().all(is_plain) {
        return Err(
            Usage(format!("`{}` is not a repository: it must be OWNER/NAME", flags.repo)).into()
        );
    }
    let folder =
        flags.repos.clone().unwrap_or_else(|| fixfly_runtime::home().join("swebench/repos"));
    terminal.status(&format!("mirroring {} into {}", flags.repo, folder.display()));
    let mirror = Mirrors { folder }.fetch(&flags.repo)?;
    print(&format!("{}\n", mirror.display()))
}
