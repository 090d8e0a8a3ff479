//! Removes what dead runs left behind.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder,
};
use fixfly_runtime::SandboxError;

use super::container::{MACHINE, OWNER};
use super::engine::{self, Patience};
use crate::lease::{lives, machine};

/// Time limit for the removal of a volume.
const AT_MOST: Duration = Duration::from_secs(5);

/// Sweeps the engines at these addresses, otherwise that of `DOCKER_HOST`. Returns the number
/// of containers and volumes removed.
///
/// # Errors
/// The first [`SandboxError::Open`] of an engine that fails, after all have been swept.
pub async fn sweep_hosts(addresses: &[String]) -> Result<usize, SandboxError> {
    super::hosts::check(addresses).map_err(SandboxError::Open)?;
    if addresses.is_empty() {
        return sweep_all(None).await;
    }
    let mut removed = Ok(0);
    for address in addresses {
        removed = match (removed, sweep_all(Some(address)).await) {
            (Ok(before), Ok(now)) => Ok(before + now),
            (Ok(_), failed) | (failed, _) => failed,
        };
    }
    removed
}

/// Sweeps until nothing is left: the engine may still create what a dead fixfly had
/// requested.
async fn sweep_all(address: Option<&str>) -> Result<usize, SandboxError> {
    let patience = Patience::default();
    let docker = engine::connect(address, patience).await?;
    let mut removed = 0;
    loop {
        let now = sweep_with(&docker, patience).await?;
        removed += now;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if now == 0 {
            let last = sweep_with(&docker, patience).await?;
            if last == 0 {
                return Ok(removed);
            }
            removed += last;
        }
    }
}

/// Removes the containers and volumes of this machine's dead runs. Returns their number.
///
/// # Errors
/// [`SandboxError::Open`] if the engine fails.
pub(super) async fn sweep_with(docker: &Docker, patience: Patience) -> Result<usize, SandboxError> {
    let failed = |why| SandboxError::Open(format!("sweeping containers: {why}"));
    let labels = vec![OWNER.to_owned(), format!("{MACHINE}={}", machine())];
    let ours = HashMap::from([("label".to_owned(), labels)]);
    let all = ListContainersOptionsBuilder::default().all(true).filters(&ours).build();
    let found = patience.ask(|| docker.list_containers(Some(all.clone()))).await.map_err(failed)?;
    let mut removed = 0;
    for container in found {
        if is_dead(container.labels.unwrap_or_default())
            && let Some(id) = container.id
        {
            engine::remove(docker, patience, &id).await.map_err(failed)?;
            removed += 1;
        }
    }
    let all = ListVolumesOptionsBuilder::default().filters(&ours).build();
    let found = patience.ask(|| docker.list_volumes(Some(all.clone()))).await.map_err(failed)?;
    for volume in found.volumes.into_iter().flatten() {
        if is_dead(volume.labels) {
            let force = RemoveVolumeOptionsBuilder::default().force(true).build();
            let once = Patience { tries: 1, call: patience.call.min(AT_MOST), ..patience };
            match once.ask(|| docker.remove_volume(&volume.name, Some(force.clone()))).await {
                Ok(()) => removed += 1,
                // The engine may be using it; a later sweep removes it.
                Err(why) => tracing::warn!("the volume {} remains for now: {why}", volume.name),
            }
        }
    }
    Ok(removed)
}

fn is_dead(mut labels: HashMap<String, String>) -> bool {
    !lives(&labels.remove(OWNER).unwrap_or_default())
}
