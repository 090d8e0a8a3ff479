//! `fixfly sandbox image`: builds container images.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fixfly_runtime::SandboxSpec;
use fixfly_sandboxes::docker::{self, Debian};

use crate::terminal::Terminal;

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
    #[arg(long, value_delimiter = ',', default_value = docker::PACKAGES,
        conflicts_with_all = ["rootfs", "dockerfile"])]
    packages: Vec<String>,

    /// Debian release to fetch; its libraries work with this machine's Python if
    /// this machine runs the same release
    #[arg(long, default_value = docker::SUITE, conflicts_with_all = ["rootfs", "dockerfile"])]
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
    for spec in docker::distinct(specs) {
        // Opening a container reports an engine that does not answer.
        let Some((lack, debian)) = docker::missing(spec).await else { continue };
        let (suite, with) = (&debian.suite, debian.packages.join(", "));
        terminal.status(&format!("{lack}: building one from Debian {suite} with Python, {with}"));
        terminal.status(&format!("image: {}", debian.build().await?));
    }
    Ok(())
}

async fn built(build: &Build) -> anyhow::Result<String> {
    Ok(match (&build.rootfs, &build.dockerfile) {
        (Some(rootfs), _) => docker::import(rootfs, &[]).await?,
        (None, Some(dockerfile)) => docker::build(dockerfile).await?,
        (None, None) => {
            let (suite, packages) = (build.suite.clone(), build.packages.clone());
            Debian { suite, packages }.build().await?
        }
    })
}
