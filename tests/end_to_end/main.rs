//! The real binary, as a person uses it. No network, no GPU; Docker in `./check --chaos`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod architecture;
mod benches;
#[cfg(feature = "view")]
mod browser;
mod changes;
mod chaos;
mod cluster;
mod compressed;
mod contributing;
mod datasets;
mod docs;
mod editing;
mod episodes;
mod faults;
mod fix;
mod hostile;
mod imports;
mod issues;
mod joint;
mod judge;
mod library;
#[cfg(feature = "mcp")]
mod mcp;
mod models;
mod project;
mod reasons;
mod recorded;
mod reports;
mod runs;
mod schemas;
mod server;
mod servers;
mod shards;
mod tables;
mod teachers;
mod terminal;
mod tools;
mod training;
mod trajectories;

use std::process::{Command, Output};

/// The binary, called with these words.
fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fixfly"));
    // A home of nobody's, so that no benchmark of the person testing is used.
    command.args(words).env("FIXFLY_HOME", "/nonexistent/fixfly").env_remove("RUST_LOG");
    command
}

/// What it did.
fn fixfly(words: &[&str]) -> Output {
    command(words).output().unwrap()
}

/// What it printed, where it ended well.
#[track_caller]
fn printed(words: &[&str]) -> String {
    let output = fixfly(words);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{words:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The exit code and the error sentence of a command that failed.
#[track_caller]
fn refused(words: &[&str]) -> (i32, String) {
    sentence(fixfly(words))
}

#[track_caller]
fn sentence(output: Output) -> (i32, String) {
    let errors = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 1, "one sentence: {errors}");
    assert!(lines[0].starts_with("error: "), "{errors}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    (output.status.code().unwrap(), lines[0]["error: ".len()..].to_string())
}
