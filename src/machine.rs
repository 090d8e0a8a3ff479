//! This machine: its facts for run.json, its CPUs, its clock.

use std::fs::read_to_string;
use std::process::Command;

use fixfly_runtime::Machine;

/// Facts that cannot be determined are empty.
pub(crate) fn facts() -> Machine {
    let release = read_to_string("/etc/os-release").unwrap_or_default();
    let memory = read_to_string("/proc/meminfo").unwrap_or_default();
    Machine {
        os: value(&release, "PRETTY_NAME=").trim_matches('"').to_string(),
        kernel: read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().into(),
        cpus: cpus(None),
        memory_mb: value(&memory, "MemTotal:").trim_end_matches(" kB").parse().unwrap_or(0) / 1024,
        python: python(),
    }
}

/// The number of parallel jobs: as given, or one per CPU available to this process.
pub(crate) fn cpus(asked: Option<u32>) -> usize {
    let available = || std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    asked.map_or_else(available, |jobs| jobs as usize)
}

/// The time, RFC 3339, UTC, to the millisecond.
pub(crate) fn now() -> String {
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
