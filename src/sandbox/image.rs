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
  fixfly sandbox image build --rootfs rootfs.tar.gz

The image built last is the one that containers are made of, unless
FIXFLY_DOCKER_IMAGE names another. Without --rootfs, debootstrap fetches Debian.")]
    Build(Build),
}

#[derive(Debug, Args)]
pub(super) struct Build {
    /// Root file system with Python 3, tar or tar.gz
    #[arg(long, value_name = "FILE")]
    rootfs: Option<PathBuf>,

    /// Release of Debian to fetch; its libraries serve this machine's Python
    /// where it is this machine's release
    #[arg(long, default_value = "bookworm", conflicts_with = "rootfs")]
    suite: String,
}

pub(super) async fn image(image: &Image, terminal: &Terminal) -> anyhow::Result<()> {
    let Image::Build(build) = image;
    let name = built(build).await?;
    terminal.say(&format!("image: {name}"));
    Ok(())
}

async fn built(build: &Build) -> anyhow::Result<String> {
    match &build.rootfs {
        Some(rootfs) => Ok(docker::import(rootfs).await?),
        None => {
            let place = std::env::temp_dir().join(format!("fixfly-{}.tar", std::process::id()));
            let imported = match fetch(&place, &build.suite) {
                Ok(()) => docker::import(&place).await.map_err(Into::into),
                Err(why) => Err(why),
            };
            let _ = std::fs::remove_file(&place);
            imported
        }
    }
}

fn fetch(place: &Path, suite: &str) -> anyhow::Result<()> {
    let made = Command::new("sh")
        .args(["-c", include_str!("rootfs.sh"), "rootfs.sh"])
        .arg(place)
        .arg(suite)
        .status()
        .context("cannot run sh")?;
    anyhow::ensure!(
        made.success(),
        "the root file system could not be made; what went wrong is above"
    );
    Ok(())
}
