//! Counts the instructions of the paths that run most often, under valgrind's callgrind, and
//! compares them with those that the repository keeps.
//!
//! `scripts/counts` builds this program and calls it. It calls itself under valgrind twice
//! for each path: with one round and with several. The count of a path is the difference,
//! per round, so starting, preparing and warming up are not part of it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for developers")]

mod fault;
mod gate;
mod kept;
mod key;
mod language;
mod measure;
mod paths;
mod scripted;

use std::path::Path;
use std::process::ExitCode;

use fault::Fault;
use gate::{Verdict, compared};
use kept::Kept;

const USAGE: &str = "usage: counts gate FILE [--write] | counts run PATH ROUNDS CPU | counts key";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["gate", file] => gate(Path::new(file)),
        ["gate", file, "--write"] => write(Path::new(file)),
        ["run", path, rounds, cpu] => paths::run(path, rounds, cpu).map(|()| ExitCode::SUCCESS),
        ["key"] => {
            println!("{}", key::here());
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(Fault::Usage(USAGE.into())),
    };
    done.unwrap_or_else(|fault| {
        eprintln!("error: {fault}");
        ExitCode::from(2)
    })
}

/// Measures every path and compares; fails if one takes too many instructions.
fn gate(file: &Path) -> Result<ExitCode, Fault> {
    let kept = Kept::read(file)?;
    let (key, counts) = (measure::key()?, measure::all()?);
    let (text, verdict) = compared(&key, kept.of(&key), &counts);
    print!("{text}");
    Ok(match verdict {
        Verdict::Holds | Verdict::Unknown => ExitCode::SUCCESS,
        Verdict::Regressed => ExitCode::FAILURE,
    })
}

/// Measures every path and keeps the counts of this machine.
fn write(file: &Path) -> Result<ExitCode, Fault> {
    let mut kept = Kept::read(file)?;
    let (key, counts) = (measure::key()?, measure::all()?);
    let (text, _) = compared(&key, kept.of(&key), &counts);
    print!("{text}");
    kept.set(key, counts);
    kept.write(file)?;
    println!("{} was written", file.display());
    Ok(ExitCode::SUCCESS)
}
