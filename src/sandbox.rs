//! `fixfly sandbox`: checks isolation, builds images, and cleans up after dead runs.

#[cfg(feature = "docker")]
mod image;
#[cfg(feature = "wasm")]
mod wasm;

use anyhow::Context;
use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets};
use fixfly_runtime::{Impact, Protection, SandboxSpec};
use fixfly_sandboxes::{ALL, HostOptions, local};

use crate::terminal::{self, Terminal};

/// Columns of a table.
const WIDTH: u16 = 118;

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
    Sweep,
}

pub(crate) fn sandbox(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    match &flags.verb {
        Verb::Doctor => terminal::print(&runtime.block_on(doctor())),
        #[cfg(feature = "docker")]
        Verb::Image(image) => runtime.block_on(image::image(image, terminal)),
        #[cfg(feature = "wasm")]
        Verb::Wasm(verb) => wasm::wasm(verb, terminal),
        Verb::Sweep => runtime.block_on(sweep(terminal)),
    }
}

/// Builds the images that the sandbox lacks for these specs, if they can be built here.
#[cfg_attr(not(feature = "docker"), expect(unused_variables, reason = "only docker has images"))]
pub(crate) async fn ensure_image(
    sandbox: &str,
    specs: &[&SandboxSpec],
    terminal: &Terminal,
) -> anyhow::Result<()> {
    #[cfg(feature = "docker")]
    if sandbox == fixfly_sandboxes::docker::ENTRY.name {
        image::build_missing(specs, terminal).await?;
    }
    Ok(())
}

async fn sweep(terminal: &Terminal) -> anyhow::Result<()> {
    terminal.status(&format!("control groups removed: {}", local::sweep()));
    #[cfg(feature = "wasm")]
    terminal.status(&format!("folders removed: {}", fixfly_sandboxes::wasm::sweep()));
    #[cfg(feature = "docker")]
    {
        let removed = fixfly_sandboxes::docker::sweep_all().await?;
        terminal.status(&format!("containers and volumes removed: {removed}"));
    }
    Ok(())
}

async fn doctor() -> String {
    let mut text = String::new();
    for entry in ALL {
        let (protections, isolation) = match (entry.open)(&HostOptions::default()) {
            Ok(host) => (host.protections().await, host.isolation()),
            Err(why) => (Vec::new(), why.to_string()),
        };
        text += &format!("{}: {}\n", entry.name, verdict(&protections, &isolation));
        if !protections.is_empty() {
            text += &format!("{}\n", table(&protections));
        }
    }
    text
}

fn verdict(protections: &[Protection], isolation: &str) -> String {
    let missing: Vec<_> = protections.iter().filter(|protection| protection.is_missing()).collect();
    match missing.first() {
        None if protections.is_empty() => isolation.to_owned(),
        None => "every required protection is available".to_owned(),
        Some(first) if first.impact == Impact::NoSandbox => "not available".to_owned(),
        Some(_) => {
            format!("required protections missing: {}; runs need --allow-weak", missing.len())
        }
    }
}

fn table(protections: &[Protection]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(WIDTH);
    table.set_header(["protection", "provided by", "remedy", "without it"]);
    table.add_rows(protections.iter().map(row));
    table.trim_fmt()
}

fn row(protection: &Protection) -> [String; 4] {
    let name = protection.name.to_owned();
    match &protection.by {
        Some(by) => [name, by.clone(), String::new(), String::new()],
        None => {
            let missing = if protection.needed { "MISSING" } else { "missing" };
            [
                name,
                missing.to_owned(),
                protection.remedy.clone(),
                protection.impact.as_str().to_owned(),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protection(by: Option<&str>, needed: bool) -> Protection {
        Protection {
            name: "memory of the whole sandbox",
            by: by.map(str::to_owned),
            needed,
            remedy: "ask for it".to_owned(),
            impact: Impact::TakesAllMemory,
        }
    }

    #[test]
    fn a_missing_protection_is_shown_with_its_remedy_and_its_impact() {
        let protections =
            [protection(Some("cgroup v1"), true), protection(None, true), protection(None, false)];
        insta::assert_snapshot!(table(&protections));
    }

    #[test]
    fn only_required_protections_make_a_sandbox_weak() {
        let isolation = "wasm: no system calls";
        let needed = "required protections missing: 1; runs need --allow-weak";
        for (protections, expected) in [
            (vec![], isolation),
            (vec![protection(Some("x"), true)], "every required protection is available"),
            (vec![protection(None, false)], "every required protection is available"),
            (vec![protection(None, true), protection(None, false)], needed),
        ] {
            assert_eq!(verdict(&protections, isolation), expected);
        }
    }
}
