//! The compiler and its level of optimisation are a part of the key of a count: others make
//! other code.
#![allow(clippy::print_stdout, reason = "cargo reads it")]

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let text =
        output.map_or_else(|_| String::new(), |out| String::from_utf8_lossy(&out.stdout).into());
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    let level = std::env::var("OPT_LEVEL").unwrap_or_default();
    println!("cargo::rustc-env=COMPILER={}, opt-level {level}", words.join(" "));
}
