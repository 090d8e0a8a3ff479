//! Runs git on this machine without any configuration, attributes or environment but
//! fixfly's own.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fixfly_runtime::BenchmarkError;

/// Settings that hold whatever a repository's own configuration contains.
const SETTINGS: [&str; 12] = [
    "safe.directory=*",
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.autocrlf=false",
    "core.safecrlf=false",
    "core.fsmonitor=false",
    "core.ignoreCase=false",
    "core.precomposeUnicode=false",
    "core.quotePath=true",
    "gc.auto=0",
    "commit.gpgSign=false",
];

/// git on a git directory.
pub(crate) fn git(directory: &Path) -> Command {
    let mut git = git_alone();
    git.arg("--git-dir").arg(directory);
    git
}

/// git without a git directory.
pub(crate) fn git_alone() -> Command {
    let mut git = Command::new("git");
    // Such a variable can name another directory, index, configuration or diff program.
    let is_of_git = |name: &std::ffi::OsStr| {
        name.to_str().is_some_and(|name| name.starts_with("GIT_") && name != "GIT_EXEC_PATH")
    };
    for name in std::env::vars_os().map(|(name, _)| name).filter(|name| is_of_git(name)) {
        git.env_remove(name);
    }
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    git.env("GIT_ATTR_NOSYSTEM", "1").env("GIT_NO_REPLACE_OBJECTS", "1");
    git.env("LC_ALL", "C");
    for setting in SETTINGS {
        git.args(["-c", setting]);
    }
    git
}

/// Runs a command that must succeed.
///
/// # Errors
/// `failed`, and git's last line.
pub(crate) fn done(command: &mut Command, failed: &str) -> Result<(), BenchmarkError> {
    stdout(command, &[], failed).map(drop)
}

/// The output of a command that must succeed.
///
/// # Errors
/// `failed`, and git's last line.
pub(crate) fn stdout(
    command: &mut Command,
    input: &[u8],
    failed: &str,
) -> Result<Vec<u8>, BenchmarkError> {
    stdout_if(command, input, failed, &[0])
}

/// The output of a command that must exit with one of these codes.
///
/// # Errors
/// `failed`, and git's last line.
pub(crate) fn stdout_if(
    command: &mut Command,
    input: &[u8],
    failed: &str,
    codes: &[i32],
) -> Result<Vec<u8>, BenchmarkError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| no_git(&e))?;
    let output = std::thread::scope(|scope| {
        let stdin = child.stdin.take();
        // A program that ends early does not read everything.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        Child::wait_with_output(child)
    });
    let output = output.map_err(|e| no_git(&e))?;
    if output.status.code().is_some_and(|code| codes.contains(&code)) {
        return Ok(output.stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("git gave no reason");
    Err(BenchmarkError::Broken(format!("{failed}: {last}")))
}

pub(crate) fn no_git(error: &std::io::Error) -> BenchmarkError {
    BenchmarkError::Broken(format!("git cannot be run: {error}; install it (apt install git)"))
}
