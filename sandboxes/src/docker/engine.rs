//! A Docker engine, which is not relied on: it may hang, restart or fail.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveContainerOptionsBuilder};
use fixfly_runtime::SandboxError;

use super::image;

/// How long one call may take, and how often it is tried.
const PATIENCE: Duration = Duration::from_secs(60);
const TRIES: u32 = 3;

/// The engine of `DOCKER_HOST`, or of the usual socket.
pub(super) async fn connect() -> Result<Docker, SandboxError> {
    let absent = |why: Error| {
        SandboxError::Open(format!(
            "no Docker engine answers ({why}): start one, or name one by DOCKER_HOST"
        ))
    };
    let docker = Docker::connect_with_defaults().map_err(absent)?;
    let docker = docker.with_timeout(PATIENCE);
    match tokio::time::timeout(Duration::from_secs(10), docker.negotiate_version()).await {
        Ok(docker) => docker.map_err(absent),
        Err(_) => Err(absent(Error::RequestTimeoutError)),
    }
}

/// Calls the engine until it answers or patience ends. What it refuses with a
/// reason is not asked again.
pub(super) async fn patient<T, F>(mut call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut tries = 1;
    loop {
        let answer = tokio::time::timeout(PATIENCE, call()).await;
        let why = match answer.unwrap_or(Err(Error::RequestTimeoutError)) {
            Err(why) if tries < TRIES && may_pass(&why) => why,
            settled => return settled,
        };
        tracing::debug!("the Docker engine failed, try {tries} of {TRIES}: {why}");
        tokio::time::sleep(Duration::from_millis(500) * tries).await;
        tries += 1;
    }
}

fn may_pass(why: &Error) -> bool {
    match why {
        Error::DockerResponseServerError { status_code, message } => {
            // An engine says 500 also of a mount that cannot be.
            *status_code >= 500 && !message.contains("mount")
        }
        _ => true,
    }
}

/// The image containers are made of: the one asked for, else the newest built.
pub(super) async fn image(docker: &Docker) -> Result<String, SandboxError> {
    if let Ok(name) = std::env::var("FIXFLY_DOCKER_IMAGE") {
        return Ok(name);
    }
    let all = ListImagesOptionsBuilder::default().build();
    let images = patient(|| docker.list_images(Some(all.clone())))
        .await
        .map_err(|why| SandboxError::Open(format!("listing images: {why}")))?;
    let ours = images.into_iter().filter_map(|found| {
        let tag = found.repo_tags.iter().find(|tag| tag.starts_with(image::REPOSITORY))?;
        Some((found.created, tag.clone()))
    });
    ours.max().map(|(_, tag)| tag).ok_or_else(|| {
        SandboxError::Open(
            "the Docker engine has no image for sandboxes: make one by `fixfly sandbox image \
             build`, or name one by FIXFLY_DOCKER_IMAGE"
                .to_owned(),
        )
    })
}

/// Removes a container, whatever it does.
pub(super) async fn remove(docker: &Docker, name: &str) -> Result<(), Error> {
    let force = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    for _ in 0..100 {
        let removed = patient(|| docker.remove_container(name, Some(force.clone()))).await;
        match removed {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                return Ok(());
            }
            // The engine is at it already: it removes what ended by itself.
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(why) => return Err(why),
        }
    }
    Err(Error::RequestTimeoutError)
}
