//! What `fixfly --version` prints beside the version: commit, features and target.
#![allow(clippy::print_stdout, reason = "cargo reads it")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    // Else the tests would be compiled again after every commit.
    let commit = match variable("PROFILE") == "release" {
        true => commit(Path::new(&variable("CARGO_MANIFEST_DIR"))),
        false => None,
    };
    let mut features: Vec<String> = env::vars()
        .filter_map(|(name, _)| name.strip_prefix("CARGO_FEATURE_").map(str::to_lowercase))
        .filter(|feature| feature != "default")
        .map(|feature| feature.replace('_', "-"))
        .collect();
    features.sort();
    let features = if features.is_empty() { "none".to_string() } else { features.join(",") };
    println!(
        "cargo::rustc-env=FIXFLY_VERSION={} ({}) features: {features} target: {}",
        variable("CARGO_PKG_VERSION"),
        commit.unwrap_or_else(|| "unknown".into()),
        variable("TARGET"),
    );
}

/// The commit of this folder and its date; none if it is not a checkout of its own, as when
/// it was unpacked from an archive.
fn commit(folder: &Path) -> Option<String> {
    let top = PathBuf::from(git(folder, &["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != folder.canonicalize().ok()? {
        return None;
    }
    // It changes with each commit and checkout.
    let log = folder.join(git(folder, &["rev-parse", "--git-path", "logs/HEAD"])?);
    println!("cargo::rerun-if-changed={}", log.display());
    git(folder, &["log", "-1", "--abbrev=7", "--format=%h %cs"])
}

/// What git prints, if it is here and ends well.
fn git(folder: &Path, words: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(folder).args(words).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}
