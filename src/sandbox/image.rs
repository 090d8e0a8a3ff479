//! `fixfly sandbox image`: what containers are made of.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::{Args, Subcommand};
use fixfly_sandboxes::docker;

use crate::terminal::Terminal;

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
fetches Debian.")]
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
    #[arg(long, value_delimiter = ',', default_value = "gettext,tzdata",
        conflicts_with_all = ["rootfs", "dockerfile"])]
    packages: Vec<String>,

    /// Release of Debian to fetch; its libraries serve this machine's Python
    /// where it is this machine's release
    #[arg(long, default_value = "bookworm", conflicts_with_all = ["rootfs", "dockerfile"])]
    suite: String,
}

pub(super) async fn image(image: &Image, terminal: &Terminal) -> anyhow::Result<()> {
    let Image::Build(build) = image;
    let name = built(build).await?;
    terminal.say(&format!("image: {name}"));
    Ok(())
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
