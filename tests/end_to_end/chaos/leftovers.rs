//! What processes of fixfly leave on the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A hard link to the binary, whose path tells its processes from all others. Each program
/// in a sandbox begins as a fork of fixfly.
pub(super) struct Linked {
    pub(super) path: PathBuf,
    /// Processes that were started, whose control groups have their ids in their names.
    pub(super) pids: Vec<u32>,
}

impl Linked {
    pub(super) fn new() -> Linked {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos");
        fs::create_dir_all(&folder).unwrap();
        let name = tempfile::Builder::new()
            .prefix("fixfly-")
            .make_in(&folder, |path| fs::hard_link(env!("CARGO_BIN_EXE_fixfly"), path));
        Linked { path: name.unwrap().into_temp_path().keep().unwrap(), pids: Vec::new() }
    }

    /// How many processes, control groups and mounts are left. What was killed needs a moment
    /// to end, so this waits as long as there is something, up to a limit.
    pub(super) fn left(&self, mounted: &Path) -> usize {
        let start = Instant::now();
        loop {
            let left = self.processes() + self.groups() + mounts(mounted);
            if left == 0 || start.elapsed() > Duration::from_secs(60) {
                return left;
            }
            sleep(Duration::from_millis(50));
        }
    }

    fn processes(&self) -> usize {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let binaries = all.filter_map(|process| fs::read_link(process.path().join("exe")).ok());
        binaries.filter(|binary| *binary == self.path).count()
    }

    fn groups(&self) -> usize {
        let names: Vec<String> = self.pids.iter().map(|pid| format!("fixfly-{pid}-")).collect();
        let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
        let mut found = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    found += usize::from(names.iter().any(|start| name.starts_with(start)));
                    folders.push(entry.path());
                }
            }
        }
        found
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Mounts of this machine below a folder, or of it.
fn mounts(folder: &Path) -> usize {
    let folder = folder.to_str().unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().filter(|mount| mount.contains(folder)).count()
}
