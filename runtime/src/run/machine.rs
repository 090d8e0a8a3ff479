//! This machine: its facts for run.json, its CPUs, its clock.

use std::fs::read_to_string;
use std::process::Command;
use std::sync::OnceLock;

use crate::run_directory::Machine;

/// They do not change while this process runs. Values that cannot be determined are empty.
pub(super) fn facts() -> Machine {
    static FACTS: OnceLock<Machine> = OnceLock::new();
    FACTS.get_or_init(read_facts).clone()
}

fn read_facts() -> Machine {
    let release = read_to_string("/etc/os-release").unwrap_or_default();
    let memory = read_to_string("/proc/meminfo").unwrap_or_default();
    Machine {
        os: value(&release, "PRETTY_NAME=").trim_matches('"').to_string(),
        kernel: read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().into(),
        cpus: cpus(),
        memory_mb: value(&memory, "MemTotal:").trim_end_matches(" kB").parse().unwrap_or(0) / 1024,
        python: python(),
    }
}

/// CPUs available to this process.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get())
}

/// The current time, RFC 3339, UTC, to the millisecond.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Millisecond).unwrap_or(now).to_string()
}

fn value<'a>(lines: &'a str, key: &str) -> &'a str {
    lines.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim()
}

fn python() -> String {
    let output = Command::new("python3").arg("--version").output();
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().into())
}
