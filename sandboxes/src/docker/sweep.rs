//! Removes what dead runs left.

use std::collections::HashMap;

use bollard::Docker;
use bollard::query_parameters::ListContainersOptionsBuilder;
use fixfly_runtime::SandboxError;

use super::container::{MACHINE, OWNER};
use super::engine;
use crate::lease::{lives, machine};

/// Removes the containers of this machine's runs that are dead; says how many
/// there were.
///
/// # Errors
/// [`SandboxError::Open`] where the engine fails.
pub async fn sweep() -> Result<usize, SandboxError> {
    sweep_with(&engine::connect().await?).await
}

pub(super) async fn sweep_with(docker: &Docker) -> Result<usize, SandboxError> {
    let failed = |why| SandboxError::Open(format!("sweeping containers: {why}"));
    let labels = vec![OWNER.to_owned(), format!("{MACHINE}={}", machine())];
    let ours = HashMap::from([("label".to_owned(), labels)]);
    let all = ListContainersOptionsBuilder::default().all(true).filters(&ours).build();
    let found =
        engine::patient(|| docker.list_containers(Some(all.clone()))).await.map_err(failed)?;
    let mut removed = 0;
    for container in found {
        let owner = container.labels.unwrap_or_default().remove(OWNER).unwrap_or_default();
        if !lives(&owner)
            && let Some(id) = container.id
        {
            engine::remove(docker, &id).await.map_err(failed)?;
            removed += 1;
        }
    }
    Ok(removed)
}
