//! Copies of this machine's folders for an engine on another machine. Each folder is copied
//! once per process, into a volume that containers mount read-only. The sweep removes the
//! volumes of dead processes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveVolumeOptions, UploadToContainerOptionsBuilder,
};
use fixfly_runtime::SandboxError;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::OnceCell;

use super::container::labels;
use super::engine::{self, Patience};
use super::image;
use crate::lease;

/// The mount point of a volume while it is filled.
const PLACE: &str = "/tree";
/// Time limit of a copy.
const UPLOAD: Duration = Duration::from_secs(1800);

/// The volumes of one host.
pub(super) struct Trees {
    run: String,
    volumes: Mutex<HashMap<PathBuf, Arc<OnceCell<String>>>>,
}

impl Trees {
    /// No volumes yet; those made later bear the run.
    pub(super) fn new(run: &str) -> Trees {
        Trees { run: run.to_owned(), volumes: Mutex::default() }
    }

    /// The volume with a copy of this folder.
    pub(super) async fn volume(
        &self,
        docker: &Docker,
        patience: Patience,
        image: &str,
        from: &Path,
    ) -> Result<String, SandboxError> {
        let cell = {
            let mut all = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(from.to_owned()).or_default())
        };
        let failed = |why: String| {
            SandboxError::Open(format!("copying {} to the engine: {why}", from.display()))
        };
        let made = cell.get_or_try_init(|| async {
            if !from.is_dir() {
                return Err("only folders can be copied to an engine elsewhere".to_owned());
            }
            let name = lease::fresh();
            let labels = labels(&self.run, &name);
            let filled = fill(docker, patience, image, from, &name, labels).await;
            if filled.is_err() {
                let _ =
                    patience.ask(|| docker.remove_volume(&name, None::<RemoveVolumeOptions>)).await;
            }
            filled.map(|()| name)
        });
        made.await.cloned().map_err(failed)
    }
}

async fn fill(
    docker: &Docker,
    patience: Patience,
    image: &str,
    from: &Path,
    name: &str,
    labels: HashMap<String, String>,
) -> Result<(), String> {
    let message = |why: bollard::errors::Error| why.to_string();
    let volume = VolumeCreateRequest {
        name: Some(name.to_owned()),
        labels: Some(labels.clone()),
        ..VolumeCreateRequest::default()
    };
    patience.ask(|| docker.create_volume(volume.clone())).await.map_err(message)?;
    let shown = Mount {
        typ: Some(MountType::VOLUME),
        source: Some(name.to_owned()),
        target: Some(PLACE.to_owned()),
        ..Mount::default()
    };
    // This container is never started; an engine can also write into a stopped one.
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec!["true".to_owned()]),
        labels: Some(labels),
        network_disabled: Some(true),
        host_config: Some(HostConfig { mounts: Some(vec![shown]), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    let named = CreateContainerOptionsBuilder::default().name(name).build();
    patience
        .ask(|| docker.create_container(Some(named.clone()), body.clone()))
        .await
        .map_err(message)?;
    let sent = send(docker, from, name).await;
    let removed = engine::remove(docker, patience, name).await;
    sent?;
    removed.map_err(message)
}

async fn send(docker: &Docker, from: &Path, container: &str) -> Result<(), String> {
    let packed = std::env::temp_dir().join(format!("{container}.tar"));
    let (from, to) = (from.to_owned(), packed.clone());
    let pack = tokio::task::spawn_blocking(move || pack(&from, &to));
    let packed_well = pack.await.map_err(|why| why.to_string())?;
    let sent = match packed_well {
        Ok(()) => upload(docker, container, &packed).await,
        Err(why) => Err(why.to_string()),
    };
    let _ = std::fs::remove_file(&packed);
    sent
}

async fn upload(docker: &Docker, container: &str, packed: &Path) -> Result<(), String> {
    let options = UploadToContainerOptionsBuilder::default().path(PLACE).build();
    let pieces = image::pieces(packed).await.map_err(|why| why.to_string())?;
    let body = bollard::body_try_stream(pieces.map_ok(Into::into).boxed());
    // Copying a whole environment takes longer than the usual timeout.
    let docker = docker.clone().with_timeout(UPLOAD);
    let sent = docker.upload_to_container(container, Some(options), body).await;
    sent.map_err(|why| why.to_string())
}

fn pack(from: &Path, to: &Path) -> std::io::Result<()> {
    let file = std::io::BufWriter::new(std::fs::File::create(to)?);
    let mut tar = tar::Builder::new(file);
    tar.follow_symlinks(false);
    tar.append_dir_all(".", from)?;
    tar.into_inner()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    Ok(())
}
