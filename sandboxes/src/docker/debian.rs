//! Images of Debian with Python, made by debootstrap.

use std::io;
use std::path::Path;
use std::process::Command;

use fixfly_runtime::{SandboxError, SandboxSpec};

use super::image::{import, lacks};

/// The default Debian release.
pub const SUITE: &str = "bookworm";
/// The default Debian packages besides Python, separated by commas.
pub const PACKAGES: &str = "gettext,tzdata";

/// An image to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debian {
    /// The Debian release.
    pub suite: String,
    /// Debian packages besides Python.
    pub packages: Vec<String>,
}

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    /// There is no shell.
    #[error("cannot run sh: {0}")]
    Shell(io::Error),
    /// A command of the script failed.
    #[error("could not make the root file system; see the messages above")]
    RootFs,
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] SandboxError),
}

/// The specs whose containers may need different images; those that name one are left out.
pub fn distinct<'a>(specs: &[&'a SandboxSpec]) -> Vec<&'a SandboxSpec> {
    let mut distinct: Vec<&SandboxSpec> = Vec::new();
    for spec in specs {
        let known = distinct.iter().any(|other| other.packages == spec.packages);
        if !known && spec.image.is_none() {
            distinct.push(spec);
        }
    }
    distinct
}

/// Returns what the engine lacks for `spec`'s containers, and the image that adds it.
/// `None` if nothing is missing, or if no image can be built here: opening a container then
/// explains what to do.
pub async fn missing(spec: &SandboxSpec) -> Option<(String, Debian)> {
    let lack = lacks(spec).await.ok().flatten()?;
    can_fetch().then(|| (lack, Debian::with(&spec.packages)))
}

/// Whether this process can run debootstrap.
fn can_fetch() -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&folders).any(|at| at.join("debootstrap").is_file());
    there
        && std::fs::metadata("/proc/self")
            .is_ok_and(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0)
}

impl Debian {
    /// The default image with these packages, too.
    fn with(asked: &[String]) -> Debian {
        let mut packages: Vec<String> = PACKAGES.split(',').map(str::to_owned).collect();
        for name in asked {
            if !packages.contains(name) {
                packages.push(name.clone());
            }
        }
        Debian { suite: SUITE.to_owned(), packages }
    }

    /// Builds the image. Returns its name.
    ///
    /// # Errors
    /// [`DebianError`] if a command or the engine fails.
    pub async fn build(&self) -> Result<String, DebianError> {
        let place = std::env::temp_dir().join(format!("fixfly-{}.tar", std::process::id()));
        let imported = match self.fetch(&place) {
            Ok(()) => import(&place, &self.packages).await.map_err(DebianError::from),
            Err(why) => Err(why),
        };
        let _ = std::fs::remove_file(&place);
        imported
    }

    fn fetch(&self, place: &Path) -> Result<(), DebianError> {
        let made = Command::new("sh")
            .args(["-c", include_str!("rootfs.sh"), "rootfs.sh"])
            .arg(place)
            .arg(&self.suite)
            .arg(self.packages.join(","))
            .status()
            .map_err(DebianError::Shell)?;
        made.success().then_some(()).ok_or(DebianError::RootFs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(asked: &[&str], expected: &str) {
        let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
        assert_eq!(Debian::with(&asked).packages.join(" "), expected);
    }

    #[test]
    fn an_image_has_the_default_and_the_requested_packages() {
        check(&[], "gettext tzdata");
        check(&["tzdata", "git", "text", "git"], "gettext tzdata git text");
    }
}
