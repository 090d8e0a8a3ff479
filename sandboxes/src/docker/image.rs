//! Images from a root file system, with no registry.

use std::path::Path;

use bollard::Docker;
use bollard::query_parameters::CreateImageOptionsBuilder;
use fixfly_runtime::SandboxError;
use futures::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use super::engine;

/// What images made here are called, before the hash of what they were made of.
pub(super) const REPOSITORY: &str = "fixfly/python:";
const PIECE: usize = 1 << 20;

/// Makes an image of a tarball, raw or gzip, unless there is one of these
/// bytes already; gives its name.
///
/// # Errors
/// [`SandboxError::Open`] where the file or the engine fails.
pub async fn import(rootfs: &Path) -> Result<String, SandboxError> {
    let failed = |why: String| SandboxError::Open(format!("{}: {why}", rootfs.display()));
    let docker = engine::connect().await?;
    let hash = hash(rootfs).await.map_err(|why| failed(why.to_string()))?;
    let name = format!("{REPOSITORY}{}", &hash[..16]);
    if docker.inspect_image(&name).await.is_ok() {
        return Ok(name);
    }
    send(&docker, rootfs, &name).await.map_err(failed)?;
    Ok(name)
}

async fn send(docker: &Docker, rootfs: &Path, name: &str) -> Result<(), String> {
    let file = tokio::fs::File::open(rootfs).await.map_err(|why| why.to_string())?;
    let pieces = futures::stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then(|| (piece.into(), file)))
    });
    let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
    let options =
        CreateImageOptionsBuilder::default().from_src("-").repo(repository).tag(tag).build();
    let answers =
        docker.create_image(Some(options), Some(bollard::body_try_stream(pieces.boxed())), None);
    answers.try_for_each(|_| async { Ok(()) }).await.map_err(|why| why.to_string())
}

async fn hash(path: &Path) -> std::io::Result<String> {
    let mut file = tokio::fs::File::open(path).await?;
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece).await? {
            0 => break,
            read => hasher.update(&piece[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
