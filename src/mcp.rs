//! `fixfly mcp`: the tools over the Model Context Protocol.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use fixfly_benchmarks::repository::{Repository, RepositoryOptions};
use fixfly_runtime::require_protections;
use fixfly_tools::mcp::{Workspace, serve};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Usage;
use crate::flags::host;
use crate::sandbox::ensure_image;
use crate::terminal::Terminal;
use crate::threads::threads;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly mcp --repo . --runs runs
  claude mcp add fixfly -- fixfly mcp")]
pub(crate) struct Flags {
    /// Folder of a git repository; the tools act on a copy of it
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,

    /// Folder with recorded runs, for the tools `list_runs` and `show_episode`
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,

    /// Sandbox that holds the copy
    #[arg(long, default_value = "local")]
    sandbox: String,

    /// Interpreter of the tests [default: the repository's .venv, $VIRTUAL_ENV, python3]
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,

    /// Command that runs the tests with unittest, if pytest and unittest do not find them,
    /// e.g. `python tests/runtests.py`; ids follow it
    #[arg(long, value_name = "COMMAND")]
    test_command: Option<String>,

    /// Run even if the sandbox lacks a required protection on this machine. See
    /// `fixfly sandbox doctor`
    #[arg(long, env = "FIXFLY_ALLOW_WEAK", hide_env_values = true)]
    allow_weak: bool,
}

pub(crate) fn mcp(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let runtime = threads()?;
    let ended = runtime.block_on(session(flags, terminal));
    // A read of standard input may never end.
    runtime.shutdown_background();
    ended
}

async fn session(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let Flags { repo, runs, sandbox, python, test_command, allow_weak } = flags;
    if let Some(missing) = runs.as_ref().filter(|runs| !runs.is_dir()) {
        let shown = missing.display();
        return Err(Usage(format!("{shown} is not a folder; name one with --runs")).into());
    }
    let mut terminated = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let host = host(sandbox, &[])?;
    if !allow_weak {
        require_protections(sandbox, &host.protections().await)?;
    }
    let repository = Repository::open(&RepositoryOptions {
        folder: repo.clone(),
        python: python.clone(),
        test_command: test_command.clone(),
    })?;
    let task = repository.task();
    ensure_image((sandbox, &[]), &[&task.sandbox], terminal).await?;
    let opened = host.open(&task.sandbox).await?;
    let workspace = Workspace::new(task, opened, repository.frameworks());
    let stop = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    Ok(serve(workspace, runs.clone(), stop).await?)
}
