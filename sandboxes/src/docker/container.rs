//! The definition of a container.

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountBindOptions, MountType,
    ResourcesUlimits,
};
use fixfly_runtime::{MountMode, SandboxSpec};

use super::seccomp;
use crate::lease::{machine, owner};

/// The label with the owner of a container.
pub(super) const OWNER: &str = "dev.fixfly.owner";
pub(super) const LEASE: &str = "dev.fixfly.lease";
const RUN: &str = "dev.fixfly.run";
/// The label with the machine of the owner, since its boot: an engine may serve several
/// machines.
pub(super) const MACHINE: &str = "dev.fixfly.machine";
/// Maximum number of CPUs of a container.
pub(super) const PROCESSORS: i64 = 2;
/// Additional processes: the agent, and each run's init.
const OVERHEAD: u64 = 24;
const AGENT: &str = include_str!("agent.py");

/// A read-only mount.
pub(super) struct Shown {
    pub(super) from: Source,
    /// Absolute path in the container.
    pub(super) to: String,
}

/// The source of a mount.
pub(super) enum Source {
    /// A folder on the engine's machine.
    Folder(PathBuf),
    /// A volume.
    Volume(String),
}

/// The labels of everything that is created under this lease.
pub(super) fn labels(run: &str, lease: &str) -> HashMap<String, String> {
    HashMap::from([
        (OWNER.to_owned(), owner()),
        (LEASE.to_owned(), lease.to_owned()),
        (RUN.to_owned(), run.to_owned()),
        (MACHINE.to_owned(), machine()),
    ])
}

/// The user of its programs: the user who opened it, or nobody if root opened it.
fn user() -> String {
    match nix::unistd::geteuid().as_raw() {
        0 => "65534:65534".to_owned(),
        uid => format!("{uid}:{}", nix::unistd::getegid()),
    }
}

/// The container of `spec`. `private` has the sizes of its private mounts in bytes, in
/// their order.
pub(super) fn body(
    spec: &SandboxSpec,
    image: &str,
    labels: HashMap<String, String>,
    processors: i64,
    private: &[u64],
    shown: &[Shown],
) -> ContainerCreateBody {
    let agent = ["python3", "-I", "-S", "-c", AGENT];
    ContainerCreateBody {
        image: Some(image.to_owned()),
        hostname: Some("sandbox".to_owned()),
        user: Some(user()),
        entrypoint: Some(Vec::new()),
        cmd: Some(agent.map(str::to_owned).into()),
        env: Some(vec!["PATH=/usr/local/bin:/usr/bin:/bin".to_owned()]),
        labels: Some(labels),
        working_dir: Some(if spec.workdir.is_empty() { "/".into() } else { spec.workdir.clone() }),
        open_stdin: Some(true),
        // The agent's input ends with fixfly, and the container with its input.
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(host_config(spec, processors, private, shown)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(
    spec: &SandboxSpec,
    processors: i64,
    private: &[u64],
    shown: &[Shown],
) -> HostConfig {
    let limits = &spec.limits;
    let memory = Some((limits.memory_mb << 20).cast_signed());
    let limit = |name: &str, most: u64| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(most.cast_signed()),
        hard: Some(most.cast_signed()),
    };
    HostConfig {
        network_mode: Some("none".to_owned()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec![
            "no-new-privileges:true".to_owned(),
            format!("seccomp={}", seccomp::profile()),
            "apparmor=unconfined".to_owned(),
        ]),
        // The kernel mounts a nested /proc only if nothing of /proc is masked. What was
        // masked belongs to root, and nobody in the container is root.
        masked_paths: Some(vec!["/sys/firmware".to_owned()]),
        readonly_paths: Some(Vec::new()),
        readonly_rootfs: Some(true),
        init: Some(true),
        auto_remove: Some(true),
        ipc_mode: Some("private".to_owned()),
        memory,
        memory_swap: memory,
        nano_cpus: Some(processors.min(PROCESSORS) * 1_000_000_000),
        pids_limit: Some((limits.processes + OVERHEAD).cast_signed()),
        // The agent opens more files than a program may; it sets each program's own limit.
        ulimits: Some(vec![limit("nofile", limits.open_files.max(1024)), limit("core", 0)]),
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        mounts: Some(shown.iter().map(mount).collect()),
        tmpfs: Some(tmpfs(spec, private)),
        ..HostConfig::default()
    }
}

fn mount(shown: &Shown) -> Mount {
    let (typ, source) = match &shown.from {
        Source::Folder(folder) => (MountType::BIND, folder.to_string_lossy().into_owned()),
        Source::Volume(name) => (MountType::VOLUME, name.clone()),
    };
    // An older engine leaves mounts below this one writable.
    let alone = MountBindOptions { non_recursive: Some(true), ..MountBindOptions::default() };
    Mount {
        bind_options: (typ == MountType::BIND).then_some(alone),
        typ: Some(typ),
        source: Some(source),
        target: Some(shown.to.clone()),
        read_only: Some(true),
        ..Mount::default()
    }
}

fn tmpfs(spec: &SandboxSpec, private: &[u64]) -> HashMap<String, String> {
    let disk = spec.limits.disk_mb << 20;
    let scratch = |bytes: u64, how: &str| {
        let files = (bytes >> 12) + 1024;
        format!("exec,nosuid,nodev,size={bytes},nr_inodes={files},{how}")
    };
    // The agent also mounts a part of it as /tmp for programs.
    let mut all = HashMap::from([("/dev/shm".to_owned(), scratch(disk, "mode=1777"))]);
    let (uid, gid) = user()
        .split_once(':')
        .map_or_else(Default::default, |(uid, gid)| (uid.to_owned(), gid.to_owned()));
    let own = format!("mode=755,uid={uid},gid={gid}");
    let copied = spec.mounts.iter().filter(|mount| mount.mode == MountMode::Private);
    for (mount, bytes) in copied.zip(private) {
        all.insert(mount.to.clone(), scratch(bytes + disk, &own));
    }
    all
}
