//! `fixfly sandbox image`: builds container images.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::{Args, Subcommand};
use fixfly_runtime::SandboxSpec;
use fixfly_sandboxes::docker;

use crate::terminal::Terminal;

const SUITE: &str = "bookworm";
const PACKAGES: &str = "gettext,tzdata";

#[derive(Debug, Subcommand)]
pub(super) enum Image {
    /// Build an image with Python from a root file system, without a registry
    #[command(after_help = "\
Examples:
  fixfly sandbox image build
  fixfly sandbox image build --suite trixie
  fixfly sandbox image build --packages gettext,tzdata,git
  fixfly sandbox image build --rootfs rootfs.tar.gz
  fixfly sandbox image build --dockerfile images/Dockerfile

Containers use the newest image with the packages that the benchmark requires, or
the image named by FIXFLY_DOCKER_IMAGE, which is pulled if the engine lacks it.
Without --rootfs and --dockerfile, debootstrap fetches Debian. Runs as root build
a missing image automatically.")]
    Build(Build),
}

#[derive(Debug, Args)]
pub(super) struct Build {
    /// Root file system with Python 3, tar or tar.gz
    #[arg(long, value_name = "FILE")]
    rootfs: Option<PathBuf>,

    /// Dockerfile, built with its folder as context; the image needs Python 3
    #[arg(long, value_name = "FILE", conflicts_with = "rootfs")]
    dockerfile: Option<PathBuf>,

    /// Debian packages to install besides Python, separated by commas
    #[arg(long, value_delimiter = ',', default_value = PACKAGES,
        conflicts_with_all = ["rootfs", "dockerfile"])]
    packages: Vec<String>,

    /// Debian release to fetch; its libraries work with this machine's Python if
    /// this machine runs the same release
    #[arg(long, default_value = SUITE, conflicts_with_all = ["rootfs", "dockerfile"])]
    suite: String,
}

pub(super) async fn image(image: &Image, terminal: &Terminal) -> anyhow::Result<()> {
    let Image::Build(build) = image;
    let name = built(build).await?;
    terminal.status(&format!("image: {name}"));
    Ok(())
}

/// Builds and reports the images that these tasks' containers need and the engine
/// lacks. If they cannot be built here, opening a container explains how to.
pub(crate) async fn build_missing(
    specs: &[&SandboxSpec],
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let mut asked: Vec<&SandboxSpec> = Vec::new();
    for spec in specs {
        let known = asked.iter().any(|other| other.packages == spec.packages);
        if !known && spec.image.is_none() {
            asked.push(spec);
        }
    }
    for spec in asked {
        // Opening a container reports an engine that does not answer.
        let Ok(Some(lack)) = docker::lacks(spec).await else { continue };
        if !can_fetch() {
            continue;
        }
        let packages = packages(&spec.packages);
        let with = packages.join(", ");
        terminal.status(&format!("{lack}: building one from Debian {SUITE} with Python, {with}"));
        let build = Build { rootfs: None, dockerfile: None, packages, suite: SUITE.to_owned() };
        terminal.status(&format!("image: {}", built(&build).await?));
    }
    Ok(())
}

/// The default packages and the requested ones.
fn packages(asked: &[String]) -> Vec<String> {
    let mut packages: Vec<String> = PACKAGES.split(',').map(str::to_owned).collect();
    for name in asked {
        if !packages.contains(name) {
            packages.push(name.clone());
        }
    }
    packages
}

/// Whether this process can run debootstrap.
fn can_fetch() -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&folders).any(|at| at.join("debootstrap").is_file());
    there
        && std::fs::metadata("/proc/self")
            .is_ok_and(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0)
}

async fn built(build: &Build) -> anyhow::Result<String> {
    match (&build.rootfs, &build.dockerfile) {
        (Some(rootfs), _) => Ok(docker::import(rootfs, &[]).await?),
        (None, Some(dockerfile)) => Ok(docker::build(dockerfile).await?),
        (None, None) => {
            let place = std::env::temp_dir().join(format!("fixfly-{}.tar", std::process::id()));
            let imported = match fetch(&place, build) {
                Ok(()) => docker::import(&place, &build.packages).await.map_err(Into::into),
                Err(why) => Err(why),
            };
            let _ = std::fs::remove_file(&place);
            imported
        }
    }
}

fn fetch(place: &Path, build: &Build) -> anyhow::Result<()> {
    let made = Command::new("sh")
        .args(["-c", include_str!("rootfs.sh"), "rootfs.sh"])
        .arg(place)
        .arg(&build.suite)
        .arg(build.packages.join(","))
        .status()
        .context("cannot run sh")?;
    anyhow::ensure!(made.success(), "could not make the root file system; see the messages above");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(asked: &[&str], expected: &str) {
        let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
        assert_eq!(packages(&asked).join(" "), expected);
    }

    #[test]
    fn an_image_has_the_default_and_the_requested_packages() {
        check(&[], "gettext tzdata");
        check(&["tzdata", "git", "text", "git"], "gettext tzdata git text");
    }
}
