//! The protections that this machine provides, found by trying.

use std::time::Duration;

use fixfly_runtime::{
    Command, Host, Impact, Protection, Sandbox, SandboxError, SandboxSpec, Status,
};

use super::Local;

/// All protections. The first is the one that all others need.
pub(super) async fn protections(local: &Local) -> Vec<Protection> {
    let spec = SandboxSpec {
        env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        ..SandboxSpec::default()
    };
    let opened = local.open(&spec).await;
    let nested = match &opened {
        Ok(sandbox) => nests(&**sandbox).await,
        Err(_) => false,
    };
    let mut protections = vec![namespaces(opened.as_ref().err()), nesting(nested)];
    if let Ok(sandbox) = opened {
        let _ = sandbox.close().await;
    }
    protections.extend(groups(local));
    protections.extend(kernel(local));
    protections
}

fn namespaces(why: Option<&SandboxError>) -> Protection {
    Protection {
        name: "files, processes and network of its own",
        by: why.is_none().then(|| "user, mount, pid, net, ipc and uts namespaces".to_owned()),
        needed: true,
        remedy: why.map(ToString::to_string).unwrap_or_default(),
        impact: Impact::NoSandbox,
    }
}

fn nesting(given: bool) -> Protection {
    Protection {
        name: "each candidate apart from the next",
        by: given.then(|| "namespaces within the sandbox".to_owned()),
        needed: true,
        remedy: "raise user.max_user_namespaces, and unmask /proc where fixfly runs in a container"
            .to_owned(),
        impact: Impact::NoMethodCandidates,
    }
}

fn groups(local: &Local) -> [Protection; 2] {
    let remedy = match nix::unistd::geteuid().is_root() {
        true => "mount the control groups writable: a container needs --privileged",
        false => "systemd-run --user --scope -p Delegate=yes fixfly …",
    };
    [
        Protection {
            name: "memory of the whole sandbox",
            by: local.groups.limits_memory().map(str::to_owned),
            needed: true,
            remedy: remedy.to_owned(),
            impact: Impact::TakesAllMemoryTogether,
        },
        Protection {
            name: "number of processes",
            by: Some(local.groups.limits_processes().to_owned()),
            needed: true,
            remedy: String::new(),
            impact: Impact::ForkBomb,
        },
    ]
}

fn kernel(local: &Local) -> Vec<Protection> {
    let always = |name, by: &str, impact| Protection {
        name,
        by: Some(by.to_owned()),
        needed: true,
        remedy: String::new(),
        impact,
    };
    vec![
        always("processor time, open files, size of a file", "rlimits", Impact::SlowsOthers),
        always("disk of the whole sandbox", "one tmpfs", Impact::FillsDisk),
        Protection {
            name: "system calls that reach the machine",
            by: local.guard.has_filter().then(|| "seccomp".to_owned()),
            needed: true,
            remedy: "a kernel with CONFIG_SECCOMP_FILTER, on x86-64 or ARM64".to_owned(),
            impact: Impact::AttacksKernel,
        },
        Protection {
            name: "signals and sockets across programs",
            by: local.guard.has_domain().then(|| "landlock".to_owned()),
            needed: false,
            remedy: "Linux 6.12 or newer with landlock among its security modules".to_owned(),
            impact: Impact::NamespacesOnly,
        },
    ]
}

/// Whether a program inside can put another one into namespaces, as the test server does
/// with candidates.
async fn nests(sandbox: &dyn Sandbox) -> bool {
    let words = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "true"];
    let command = Command { timeout: Some(Duration::from_secs(10)), ..Command::new(words) };
    match sandbox.exec(&command).await {
        Ok(output) => output.status == Status::Exited(0),
        // Without `unshare` we cannot tell; the test server will find out.
        Err(_) => true,
    }
}
