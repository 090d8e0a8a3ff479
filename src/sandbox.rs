//! `fixfly sandbox`: checks isolation, builds images, and cleans up after dead runs.

#[cfg(feature = "docker")]
mod image;
#[cfg(feature = "wasm")]
mod wasm;

use anyhow::Context;
use clap::{Args, Subcommand};
use fixfly_runtime::SandboxSpec;
use fixfly_sandboxes::{DOCKER_HOST_HELP, local};

use crate::terminal::{self, Terminal};

#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show which protections this machine provides, how to get the missing ones,
    /// and the risk of running without them
    Doctor,
    /// Build images for `--sandbox docker`
    #[cfg(feature = "docker")]
    #[command(subcommand)]
    Image(image::Image),
    /// Build the Python of `--sandbox wasm`
    #[cfg(feature = "wasm")]
    #[command(subcommand)]
    Wasm(wasm::Verb),
    /// Remove leftovers of dead runs: containers, control groups, processes
    Sweep {
        #[arg(long, value_name = "URL", help = DOCKER_HOST_HELP)]
        docker_host: Vec<String>,
    },
}

pub(crate) fn sandbox(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    match &flags.verb {
        Verb::Doctor => terminal::print(&runtime.block_on(fixfly_sandboxes::doctor())),
        #[cfg(feature = "docker")]
        Verb::Image(image) => runtime.block_on(image::image(image, terminal)),
        #[cfg(feature = "wasm")]
        Verb::Wasm(verb) => wasm::wasm(verb, terminal),
        Verb::Sweep { docker_host } => runtime.block_on(sweep(docker_host, terminal)),
    }
}

/// Builds the images that the sandbox lacks for these specs, if they can be built here.
#[cfg_attr(not(feature = "docker"), expect(unused_variables, reason = "only docker has images"))]
pub(crate) async fn ensure_image(
    (sandbox, docker_hosts): (&str, &[String]),
    specs: &[&SandboxSpec],
    terminal: &Terminal,
) -> anyhow::Result<()> {
    #[cfg(feature = "docker")]
    if sandbox == fixfly_sandboxes::docker::ENTRY.name && docker_hosts.is_empty() {
        image::build_missing(specs, terminal).await?;
    }
    Ok(())
}

#[cfg_attr(not(feature = "docker"), expect(unused_variables, reason = "only docker has engines"))]
async fn sweep(docker_hosts: &[String], terminal: &Terminal) -> anyhow::Result<()> {
    terminal.status(&format!("control groups removed: {}", local::sweep()));
    #[cfg(feature = "wasm")]
    terminal.status(&format!("folders removed: {}", fixfly_sandboxes::wasm::sweep()));
    #[cfg(feature = "docker")]
    {
        let removed = fixfly_sandboxes::docker::sweep_hosts(docker_hosts).await?;
        terminal.status(&format!("containers and volumes removed: {removed}"));
    }
    Ok(())
}
