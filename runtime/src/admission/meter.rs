//! Measures memory and processors of this machine, or of the control group around it.

use std::fs::read_to_string;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Where the unified hierarchy of control groups is mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// Memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What new work can take without swapping.
    pub available: u64,
}

/// Measures a machine.
pub trait Meter: Send + Sync {
    /// The memory; `None` if it is unknown, and then it limits nothing.
    fn memory(&self) -> Option<Memory>;

    /// Processors that did nothing since the last call, on average; `None` if unknown.
    fn idle_cpus(&self) -> Option<f64>;
}

/// This machine, if it runs Linux.
#[derive(Debug, Default)]
pub(super) struct Linux {
    /// Idle time and all time of the last measurement, in ticks of all processors together.
    last: Mutex<Option<(u64, u64)>>,
}

impl Meter for Linux {
    fn memory(&self) -> Option<Memory> {
        let machine = machine_memory(&read_to_string("/proc/meminfo").ok()?)?;
        let group = read_to_string("/proc/self/cgroup").unwrap_or_default();
        let groups = groups(&group).into_iter().filter_map(|folder| group_memory(&folder));
        Some(groups.fold(machine, |least, group| Memory {
            total: least.total.min(group.total),
            available: least.available.min(group.available),
        }))
    }

    fn idle_cpus(&self) -> Option<f64> {
        let (cpus, idle, all) = ticks(&read_to_string("/proc/stat").ok()?)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (idle_then, all_then) = last.replace((idle, all))?;
        // With fewer processors than the machine, nobody here knows which ones are idle.
        if std::thread::available_parallelism().is_ok_and(|own| own.get() < cpus) {
            return None;
        }
        let passed = all.saturating_sub(all_then);
        (passed > 0).then(|| cpus as f64 * idle.saturating_sub(idle_then) as f64 / passed as f64)
    }
}

/// A machine that nobody here can measure.
pub(super) struct Elsewhere;

impl Meter for Elsewhere {
    fn memory(&self) -> Option<Memory> {
        None
    }

    fn idle_cpus(&self) -> Option<f64> {
        None
    }
}

fn machine_memory(text: &str) -> Option<Memory> {
    let bytes = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(Memory { total: bytes("MemTotal:")?, available: bytes("MemAvailable:")? })
}

/// The folders of the control group that a process is in, and of those around it.
fn groups(text: &str) -> Vec<String> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let path = Path::new(path);
    path.ancestors().map(|part| format!("{GROUPS}/{}", part.display())).collect()
}

/// The memory of a control group that has a limit.
fn group_memory(folder: &str) -> Option<Memory> {
    let read = |name: &str| read_to_string(format!("{folder}/{name}")).ok();
    group(&read("memory.max")?, &read("memory.current")?, &read("memory.stat")?)
}

/// Files that are read again when they are needed do not count.
fn group(max: &str, current: &str, stat: &str) -> Option<Memory> {
    let total = max.trim().parse::<u64>().ok()?;
    let current = current.trim().parse::<u64>().ok()?;
    let files = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let files = files.and_then(|count| count.trim().parse().ok()).unwrap_or(0);
    let available = total.saturating_sub(current.saturating_sub(files));
    Some(Memory { total, available })
}

/// The number of processors, and their idle ticks and all ticks since the start.
fn ticks(text: &str) -> Option<(usize, u64, u64)> {
    let mut lines = text.lines().take_while(|line| line.starts_with("cpu"));
    let fields: Vec<u64> =
        lines.next()?.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // Guests' time is part of the user's.
    let all = fields.iter().take(8).sum();
    let idle = fields.get(3)? + fields.get(4)?;
    Some((lines.count(), idle, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_machine_and_its_control_groups_leave() {
        let text = "MemTotal:       24000000 kB\nMemFree: 1 kB\nMemAvailable:   8000000 kB\n";
        let expected = Memory { total: 24_576_000_000, available: 8_192_000_000 };
        assert_eq!(machine_memory(text), Some(expected));
        assert_eq!(machine_memory("MemTotal: 1 kB\n"), None, "nothing is assumed");

        let stat = "anon 5\ninactive_file 300\nactive_file 7\n";
        let expected = Memory { total: 1000, available: 500 };
        assert_eq!(group("1000\n", "800\n", stat), Some(expected));
        assert_eq!(group("max\n", "800\n", stat), None, "no limit");
        assert_eq!(group("1000\n", "1200\n", "").map(|memory| memory.available), Some(0));

        let all = groups("1:cpu:/old\n0::/a.slice/b\n");
        assert_eq!(all, ["/sys/fs/cgroup/a.slice/b", "/sys/fs/cgroup/a.slice", "/sys/fs/cgroup/"]);
        assert_eq!(groups(""), ["/sys/fs/cgroup/"]);
    }

    #[test]
    fn idle_ticks_include_waits_for_disks() {
        let text =
            "cpu  10 1 5 80 4 0 0 0 3 0\ncpu0 5 0 2 40 2 0 0 0 0 0\ncpu1 5 1 3 40 2 0\nintr 1\n";
        assert_eq!(ticks(text), Some((2, 84, 100)));
        assert_eq!(ticks("intr 1\n"), None);
    }

    #[test]
    fn this_machine_can_be_measured() {
        let meter = Linux::default();
        if let Some(memory) = meter.memory() {
            assert!(memory.available <= memory.total, "{memory:?}");
        }
        assert_eq!(meter.idle_cpus(), None, "nothing to compare with yet");
    }
}
