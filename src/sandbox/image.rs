//! `fixfly sandbox image`: what containers are made of.

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
    /// Make an image with Python from a root file system, with no registry
    #[command(after_help = "\
Examples:
  fixfly sandbox image build
  fixfly sandbox image build --suite trixie
  fixfly sandbox image build --packages gettext,tzdata,git
  fixfly sandbox image build --rootfs rootfs.tar.gz
  fixfly sandbox image build --dockerfile images/Dockerfile

The newest image that has the packages a benchmark asks for is the one that
containers are made of, unless FIXFLY_DOCKER_IMAGE names another, which is
pulled where the engine lacks it. Without --rootfs and --dockerfile, debootstrap
fetches Debian. Runs as root make the image they lack by themselves.")]
    Build(Build),
}

#[derive(Debug, Args)]
pub(super) struct Build {
    /// Root file system with Python 3, tar or tar.gz
    #[arg(long, value_name = "FILE")]
    rootfs: Option<PathBuf>,

    /// Dockerfile, built with the folder it is in; its image needs Python 3
    #[arg(long, value_name = "FILE", conflicts_with = "rootfs")]
    dockerfile: Option<PathBuf>,

    /// Debian packages beside Python, separated by commas
    #[arg(long, value_delimiter = ',', default_value = PACKAGES,
        conflicts_with_all = ["rootfs", "dockerfile"])]
    packages: Vec<String>,

    /// Release of Debian to fetch; its libraries serve this machine's Python
    /// where it is this machine's release
    #[arg(long, default_value = SUITE, conflicts_with_all = ["rootfs", "dockerfile"])]
    suite: String,
}

pub(super) async fn image(image: &Image, terminal: &Terminal) -> anyhow::Result<()> {
    let Image::Build(build) = image;
    let name = built(build).await?;
    terminal.say(&format!("image: {name}"));
    Ok(())
}

/// Makes the images that these tasks' containers need and the engine lacks, and
/// says so. Where they cannot be made, opening a container says how to.
pub(crate) async fn make_missing(
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
        // That no engine answers is said where a container is opened.
        let Ok(Some(lack)) = docker::lacks(spec).await else { continue };
        if !can_fetch() {
            continue;
        }
        let packages = packages(&spec.packages);
        let with = packages.join(", ");
        terminal.say(&format!("{lack}: making one of Debian {SUITE} with Python, {with}"));
        let build = Build { rootfs: None, dockerfile: None, packages, suite: SUITE.to_owned() };
        terminal.say(&format!("image: {}", built(&build).await?));
    }
    Ok(())
}

/// The usual packages, and more that are asked for.
fn packages(asked: &[String]) -> Vec<String> {
    let mut packages: Vec<String> = PACKAGES.split(',').map(str::to_owned).collect();
    for name in asked {
        if !packages.contains(name) {
            packages.push(name.clone());
        }
    }
    packages
}

/// Whether this process may make a root file system, and has what it needs.
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
    anyhow::ensure!(
        made.success(),
        "the root file system could not be made; what went wrong is above"
    );
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
    fn an_image_has_the_usual_packages_and_those_that_are_asked_for() {
        check(&[], "gettext tzdata");
        check(&["tzdata", "git", "text", "git"], "gettext tzdata git text");
    }
}
