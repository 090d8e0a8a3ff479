//! Control groups: limits on the memory and processes of a whole sandbox, if fixfly may
//! make groups on this machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fixfly_runtime::Limits;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lease;

/// The folders in which fixfly can make groups.
pub(super) enum Hierarchy {
    /// Both controllers in one tree.
    Unified(PathBuf),
    /// One tree for each controller.
    Split { memory: Option<PathBuf>, pids: Option<PathBuf> },
}

impl Hierarchy {
    /// Finds the groups that this process may use.
    pub(super) fn find() -> Hierarchy {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let unified = mount_of(&mounts, "cgroup2", "").and_then(|mount| {
            let own = mount.join(own_group(&own, ""));
            own.ancestors()
                .take_while(|at| at.starts_with(&mount))
                .find(|at| serves(at))
                .map(Path::to_owned)
        });
        let split = |controller: &str| {
            let mount = mount_of(&mounts, "cgroup", controller)?;
            let own = mount.join(own_group(&own, controller));
            [own, mount].into_iter().find(|at| can_hold_groups(at))
        };
        match unified {
            Some(at) => Hierarchy::Unified(at),
            None => Hierarchy::Split { memory: split("memory"), pids: split("pids") },
        }
    }

    /// A phrase for `isolation`.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Hierarchy::Unified(_) => "cgroup v2 (memory, pids)",
            Hierarchy::Split { memory: Some(_), pids: Some(_) } => "cgroup v1 (memory, pids)",
            Hierarchy::Split { memory: Some(_), pids: None } => "cgroup v1 (memory)",
            Hierarchy::Split { memory: None, pids: Some(_) } => "cgroup v1 (pids), no memory limit",
            Hierarchy::Split { memory: None, pids: None } => "no cgroup and so no memory limit",
        }
    }

    /// Makes a group with these limits.
    pub(super) fn group(&self, run: &str, limits: &Limits) -> io::Result<Group> {
        let name = lease::fresh_of(run);
        let memory = (limits.memory_mb << 20).to_string();
        let processes = limits.processes.to_string();
        let mut group = Group::default();
        match self {
            Hierarchy::Unified(at) => {
                let at = group.add(at.join(name))?;
                fs::write(at.join("memory.max"), memory)?;
                fs::write(at.join("pids.max"), processes)?;
                let _ = fs::write(at.join("memory.swap.max"), "0");
            }
            Hierarchy::Split { memory: within, pids } => {
                if let Some(within) = within {
                    let at = group.add(within.join(&name))?;
                    fs::write(at.join("memory.limit_in_bytes"), &memory)?;
                    // The file is absent if the kernel does not account for swap.
                    let _ = fs::write(at.join("memory.memsw.limit_in_bytes"), &memory);
                    let _ = fs::write(at.join("memory.swappiness"), "0");
                }
                if let Some(within) = pids {
                    let at = group.add(within.join(&name))?;
                    fs::write(at.join("pids.max"), processes)?;
                }
            }
        }
        Ok(group)
    }

    /// The mechanism that limits a whole sandbox's memory, if there is one.
    pub(super) fn limits_memory(&self) -> Option<&'static str> {
        match self {
            Hierarchy::Unified(_) => Some("cgroup v2"),
            Hierarchy::Split { memory, .. } => memory.as_ref().map(|_| "cgroup v1"),
        }
    }

    /// The mechanism that limits a whole sandbox's processes.
    pub(super) fn limits_processes(&self) -> &'static str {
        match self {
            Hierarchy::Unified(_) => "cgroup v2",
            Hierarchy::Split { pids: Some(_), .. } => "cgroup v1",
            // This rlimit counts per user of one user namespace.
            Hierarchy::Split { pids: None, .. } => "rlimit",
        }
    }

    /// Removes the groups of dead runs and kills what is still in them. Returns their
    /// number.
    pub(super) fn sweep(&self) -> usize {
        let folders: Vec<&PathBuf> = match self {
            Hierarchy::Unified(at) => vec![at],
            Hierarchy::Split { memory, pids } => memory.iter().chain(pids).collect(),
        };
        let groups = folders.into_iter().filter_map(|at| fs::read_dir(at).ok()).flatten().flatten();
        let left = groups.filter(|group| {
            let name = group.file_name();
            let owner = name.to_str().and_then(lease::owner_of);
            owner.is_some_and(|owner| !lease::lives(owner))
        });
        left.filter(|group| empty(&group.path()).is_ok()).count()
    }
}

/// Kills the processes of a group and removes it.
fn empty(group: &Path) -> io::Result<()> {
    for pid in fs::read_to_string(group.join("cgroup.procs"))?.lines() {
        if let Ok(pid @ 1..) = pid.parse() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    remove_when_empty(group)
}

/// One sandbox's group; dropping it removes the group if it is empty.
#[derive(Default)]
pub(super) struct Group {
    folders: Vec<PathBuf>,
    doors: Vec<Arc<fs::File>>,
}

impl Group {
    fn add(&mut self, at: PathBuf) -> io::Result<PathBuf> {
        fs::create_dir(&at)?;
        self.folders.push(at.clone());
        // A process with one thread can enter through `tasks`. That avoids a wait for the
        // whole machine, which often takes ten milliseconds.
        let door = ["tasks", "cgroup.procs"].map(|name| at.join(name));
        let door = door.iter().find(|door| door.exists()).unwrap_or(&door[1]);
        let door = fs::OpenOptions::new().write(true).open(door)?;
        self.doors.push(Arc::new(door));
        Ok(at)
    }

    /// The files in which a process writes `0` to enter the group.
    pub(super) fn doors(&self) -> Vec<Arc<fs::File>> {
        self.doors.clone()
    }

    /// Removes the group; waits a little for its last processes.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        self.doors.clear();
        while let Some(folder) = self.folders.last() {
            remove_when_empty(folder)?;
            self.folders.pop();
        }
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.doors.clear();
        for folder in self.folders.drain(..) {
            if fs::remove_dir(&folder).is_err() {
                std::thread::spawn(move || remove_when_empty(&folder));
            }
        }
    }
}

fn remove_when_empty(folder: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match fs::remove_dir(folder) {
            Err(why) if why.kind() == io::ErrorKind::ResourceBusy && tries < 200 => tries += 1,
            removed => return removed,
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The mount point of a hierarchy, by kind and controller.
fn mount_of(mounts: &str, kind: &str, controller: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (at, found, options) = (fields.next()?, fields.next()?, fields.next()?);
        let has = controller.is_empty() || options.split(',').any(|option| option == controller);
        (found == kind && has).then(|| PathBuf::from(at))
    })
}

/// This process's group of that controller, relative to its mount.
fn own_group<'a>(own: &'a str, controller: &str) -> &'a str {
    let group = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        controllers.split(',').any(|name| name == controller).then_some(path)
    });
    group.unwrap_or_default().trim_start_matches('/')
}

/// Whether groups made in this folder can limit memory and processes.
fn serves(at: &Path) -> bool {
    let probe = at.join(lease::fresh());
    if fs::create_dir(&probe).is_err() {
        return false;
    }
    let has_limits = || ["memory.max", "pids.max"].iter().all(|file| probe.join(file).exists());
    // The kernel refuses this if processes are in the group itself.
    let serves = has_limits()
        || (fs::write(at.join("cgroup.subtree_control"), "+memory +pids").is_ok() && has_limits());
    let _ = fs::remove_dir(&probe);
    serves
}

fn can_hold_groups(at: &Path) -> bool {
    let probe = at.join(lease::fresh());
    fs::create_dir(&probe).is_ok() && fs::remove_dir(&probe).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
    const OWN: &str = "4:memory:/a/b\n1:cpu,cpuacct:/c\n0::/user.slice/x:y\n";

    #[test]
    fn each_hierarchy_is_found_where_it_is_mounted() {
        let found = |kind, controller| mount_of(MOUNTS, kind, controller);
        assert_eq!(found("cgroup", "memory").unwrap(), Path::new("/sys/fs/cgroup/memory"));
        assert_eq!(found("cgroup", "cpuacct").unwrap(), Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(found("cgroup2", "").unwrap(), Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(found("cgroup", "pids"), None);
    }

    #[test]
    fn the_own_group_is_relative_to_the_mount() {
        assert_eq!(own_group(OWN, "memory"), "a/b");
        assert_eq!(own_group(OWN, "cpuacct"), "c");
        assert_eq!(own_group(OWN, ""), "user.slice/x:y");
        assert_eq!(own_group(OWN, "pids"), "");
    }
}
