//! The protections that a Docker engine provides, found by asking and by trying.

use std::time::Duration;

use bollard::models::SystemInfo;
use fixfly_runtime::{Command, Host, Impact, Protection, SandboxSpec, Status};

use super::{Engine, Ready, plain};

/// All protections of containers such as `spec`. The first is the one that all others need.
pub(super) async fn protections(engine: &Engine, spec: &SandboxSpec) -> Vec<Protection> {
    let found = found(engine, spec).await;
    let by = found.as_ref().ok().map(|(_, what)| what.clone());
    let mut protections = vec![Protection {
        name: "an engine and an image",
        by,
        needed: true,
        remedy: found.as_ref().err().cloned().unwrap_or_default(),
        impact: Impact::NoSandbox,
    }];
    if let Ok((ready, _)) = found {
        protections.push(containers(engine, spec).await);
        protections.extend(limits(&ready.info));
        protections.push(folders(ready));
    }
    protections
}

/// The engine, and a description of it and its image.
async fn found<'a>(engine: &'a Engine, spec: &SandboxSpec) -> Result<(&'a Ready, String), String> {
    let ready = engine.ready().await.map_err(plain)?;
    let image = ready.image(spec).await.map_err(plain)?;
    let version = ready.info.server_version.as_deref().unwrap_or("of no version");
    Ok((ready, format!("Docker {version}, image {image}")))
}

fn folders(ready: &Ready) -> Protection {
    let by = match ready.trees {
        None => "shown where they are",
        Some(_) => "copied to the engine once for each run",
    };
    Protection {
        name: "this machine's folders in containers",
        by: Some(by.to_owned()),
        needed: true,
        remedy: String::new(),
        impact: Impact::NoSandbox,
    }
}

async fn containers(engine: &Engine, spec: &SandboxSpec) -> Protection {
    let tried = programs(engine, spec).await;
    Protection {
        name: "programs and candidates apart, in a container",
        by: tried.is_ok().then(|| "user, mount and pid namespaces within".to_owned()),
        needed: true,
        remedy: tried.err().unwrap_or_default(),
        impact: Impact::NoSandbox,
    }
}

async fn programs(engine: &Engine, spec: &SandboxSpec) -> Result<(), String> {
    let spec = SandboxSpec {
        env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        ..spec.clone()
    };
    let container = engine.open(&spec).await.map_err(|why| why.to_string())?;
    // The agent has made namespaces for this program; it must be able to make more.
    let words = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "true"];
    let command = Command { timeout: Some(Duration::from_secs(10)), ..Command::new(words) };
    let ran = container.exec(&command).await;
    let _ = container.close().await;
    match ran {
        Ok(output) if output.status == Status::Exited(0) => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(why) => Err(why.to_string()),
    }
}

fn limits(info: &SystemInfo) -> [Protection; 4] {
    let group = format!("cgroup v{}", info.cgroup_version.map_or("1".into(), |v| v.to_string()));
    let limit = |name, there: Option<bool>, impact| Protection {
        name,
        by: there.unwrap_or(false).then(|| group.clone()),
        needed: true,
        remedy: "a kernel and an engine with this controller; `docker info` warns of it".to_owned(),
        impact,
    };
    let options = info.security_options.iter().flatten();
    let seccomp = options.into_iter().any(|option| option.contains("seccomp"));
    [
        limit("memory of the whole sandbox", info.memory_limit, Impact::TakesAllMemory),
        limit("number of processes", info.pids_limit, Impact::ForkBomb),
        limit("share of the processors", info.cpu_cfs_quota, Impact::SlowsOthers),
        Protection {
            name: "system calls that reach the machine",
            by: seccomp.then(|| "seccomp".to_owned()),
            needed: true,
            remedy: "an engine with seccomp; `docker info` lists it".to_owned(),
            impact: Impact::AttacksKernel,
        },
    ]
}
