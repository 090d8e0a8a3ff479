//! Images of containers: from an engine, a registry, a root file system or a Dockerfile.

use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ImageSummary;
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateImageOptionsBuilder, ImportImageOptionsBuilder,
    ListImagesOptionsBuilder,
};
use fixfly_runtime::{SandboxError, SandboxSpec, hex, sha256};
use futures::{Stream, StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use super::engine::{self, Patience};

/// The name of images made here, before the hash of their inputs.
const REPOSITORY: &str = "fixfly/python:";
/// The label that lists an image's Debian packages.
const PACKAGES: &str = "dev.fixfly.packages";
const PIECE: usize = 1 << 20;
/// Time limit of a copy between engines.
const COPY: Duration = Duration::from_secs(1800);

/// The image for `spec`: its own or that of `FIXFLY_DOCKER_IMAGE`, pulled if the engine
/// lacks it; otherwise the newest image made here that has the requested packages.
pub(super) async fn choose(
    docker: &Docker,
    patience: Patience,
    spec: &SandboxSpec,
) -> Result<String, SandboxError> {
    if let Some(name) = named(spec) {
        return pulled(docker, patience, &name).await.map(|()| name).map_err(SandboxError::Open);
    }
    let made = made(docker, patience, spec).await?;
    made.map_err(|lack| SandboxError::Open(format!("{lack}: {}", remedy(spec))))
}

/// How to get an image for `spec`.
pub(super) fn remedy(spec: &SandboxSpec) -> String {
    let packages = spec.packages.join(",");
    let flag = if packages.is_empty() { String::new() } else { format!(" --packages {packages}") };
    format!("make one by `fixfly sandbox image build{flag}`, or name one by FIXFLY_DOCKER_IMAGE")
}

/// Returns what the engine lacks for `spec`'s containers, if building an image here would
/// fix it. `None` if there is an image, or if one is named.
///
/// # Errors
/// [`SandboxError::Open`] if no engine answers.
pub(super) async fn lacks(spec: &SandboxSpec) -> Result<Option<String>, SandboxError> {
    if named(spec).is_some() {
        return Ok(None);
    }
    let patience = Patience::default();
    let docker = engine::connect(None, patience).await?;
    Ok(made(&docker, patience, spec).await?.err())
}

/// The image that `spec` or the environment names.
pub(super) fn named(spec: &SandboxSpec) -> Option<String> {
    spec.image.clone().or_else(|| std::env::var("FIXFLY_DOCKER_IMAGE").ok())
}

/// The newest image made here that has the requested packages, or what is missing.
pub(super) async fn made(
    docker: &Docker,
    patience: Patience,
    spec: &SandboxSpec,
) -> Result<Result<String, String>, SandboxError> {
    let all = ListImagesOptionsBuilder::default().build();
    let images = patience
        .ask(|| docker.list_images(Some(all.clone())))
        .await
        .map_err(|why| SandboxError::Open(format!("listing images: {why}")))?;
    let ours: Vec<_> = images.iter().filter_map(|image| Some((image, tag(image)?))).collect();
    let fit = ours.iter().filter(|(image, _)| lacking(image, &spec.packages).is_empty());
    if let Some((_, tag)) = fit.max_by_key(|(image, _)| image.created) {
        return Ok(Ok((*tag).to_owned()));
    }
    Ok(Err(match ours.iter().max_by_key(|(image, _)| image.created) {
        None => "the Docker engine has no image for sandboxes".to_owned(),
        Some((image, tag)) => {
            format!("the image {tag} lacks {}", lacking(image, &spec.packages).join(", "))
        }
    }))
}

fn tag(image: &ImageSummary) -> Option<&str> {
    image.repo_tags.iter().map(String::as_str).find(|tag| tag.starts_with(REPOSITORY))
}

/// The packages that an image lacks according to its label. An image without a label is
/// assumed to have all of them.
fn lacking<'a>(image: &ImageSummary, packages: &'a [String]) -> Vec<&'a str> {
    let Some(has) = image.labels.get(PACKAGES) else { return Vec::new() };
    let missing = packages.iter().filter(|name| !has.split(' ').any(|one| one == *name));
    missing.map(String::as_str).collect()
}

/// Whether the engine has an image.
pub(super) async fn exists(
    docker: &Docker,
    patience: Patience,
    name: &str,
) -> Result<bool, String> {
    match patience.ask(|| docker.inspect_image(name)).await {
        Ok(_) => Ok(true),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(why) => Err(why.to_string()),
    }
}

/// Copies an image from one engine to another, as a stream.
pub(super) async fn copy(from: &Docker, to: &Docker, name: &str) -> Result<(), String> {
    let pieces = from.clone().with_timeout(COPY).export_image(name);
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    let loaded = to.clone().with_timeout(COPY).import_image_stream(options, pieces, None);
    let copied = loaded.try_for_each(|_| async { Ok(()) }).await;
    copied.map_err(|why| format!("copying it from another engine: {why}"))
}

/// Makes sure that the engine has an image.
pub(super) async fn pulled(docker: &Docker, patience: Patience, name: &str) -> Result<(), String> {
    if exists(docker, patience, name).await? {
        return Ok(());
    }
    // Without a tag or a digest an engine would pull every tag there is.
    let last = name.rsplit('/').next().unwrap_or(name);
    let whole = if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") };
    let options = CreateImageOptionsBuilder::default().from_image(&whole).build();
    let answers = docker.create_image(Some(options), None, None);
    answers.try_for_each(|_| async { Ok(()) }).await.map_err(|why| {
        format!("the Docker engine has no image {name}, and pulling it failed: {why}")
    })
}

/// Makes an image of a tarball, raw or gzip, unless there is one of the same bytes. Returns
/// its name. `packages` are those that it is known to contain.
///
/// # Errors
/// [`SandboxError::Open`] if the file or the engine fails.
pub async fn import(rootfs: &Path, packages: &[String]) -> Result<String, SandboxError> {
    let failed = |why: String| SandboxError::Open(format!("{}: {why}", rootfs.display()));
    let docker = engine::connect(None, Patience::default()).await?;
    let hash = hash(rootfs).await.map_err(|why| failed(why.to_string()))?;
    let name = format!("{REPOSITORY}{}", &hash[..16]);
    if docker.inspect_image(&name).await.is_ok() {
        return Ok(name);
    }
    let pieces = pieces(rootfs).await.map_err(|why| failed(why.to_string()))?;
    let body = bollard::body_try_stream(pieces.map_ok(Into::into).boxed());
    let (repository, tag) = name.split_once(':').unwrap_or((&name, "latest"));
    let mut options = CreateImageOptionsBuilder::default().from_src("-").repo(repository).tag(tag);
    let label = format!("LABEL {PACKAGES}=\"{}\"", packages.join(" "));
    if !packages.is_empty() {
        options = options.changes(vec![label]);
    }
    let answers = docker.create_image(Some(options.build()), Some(body), None);
    answers.try_for_each(|_| async { Ok(()) }).await.map_err(|why| failed(why.to_string()))?;
    Ok(name)
}

/// Makes an image of a Dockerfile and its folder, unless there is one of the same bytes.
/// Returns its name.
///
/// # Errors
/// [`SandboxError::Open`] if the file, a step or the engine fails.
pub async fn build(dockerfile: &Path) -> Result<String, SandboxError> {
    let failed = |why: String| SandboxError::Open(format!("{}: {why}", dockerfile.display()));
    let docker = engine::connect(None, Patience::default()).await?;
    let (context, file) = context(dockerfile).map_err(|why| failed(why.to_string()))?;
    let hash = sha256(&context);
    let name = format!("{REPOSITORY}{}", &hash[..16]);
    if docker.inspect_image(&name).await.is_ok() {
        return Ok(name);
    }
    let options = BuildImageOptionsBuilder::default().dockerfile(&file).t(&name).rm(true).build();
    let body = bollard::body_full(context.into());
    let mut steps = docker.build_image(options, None, Some(body));
    while let Some(step) = steps.next().await {
        let step = step.map_err(|why| failed(why.to_string()))?;
        if let Some(why) = step.error_detail.and_then(|error| error.message) {
            return Err(failed(why));
        }
        if let Some(text) = step.stream {
            tracing::info!("{}", text.trim_end());
        }
    }
    Ok(name)
}

/// The folder of a Dockerfile as a tarball, which is the same for the same files, and the
/// Dockerfile's name in it.
fn context(dockerfile: &Path) -> std::io::Result<(Vec<u8>, String)> {
    let whole = dockerfile.canonicalize()?;
    let (Some(folder), Some(file)) = (whole.parent(), whole.file_name()) else {
        return Err(std::io::ErrorKind::NotFound.into());
    };
    let mut tar = tar::Builder::new(Vec::new());
    tar.mode(tar::HeaderMode::Deterministic);
    tar.follow_symlinks(false);
    let mut entries = folder.read_dir()?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        match entry.file_type()?.is_dir() {
            true => tar.append_dir_all(entry.file_name(), entry.path())?,
            false => tar.append_path_with_name(entry.path(), entry.file_name())?,
        }
    }
    Ok((tar.into_inner()?, file.to_string_lossy().into_owned()))
}

/// Reads a file in pieces.
pub(super) async fn pieces(
    path: &Path,
) -> std::io::Result<impl Stream<Item = std::io::Result<Vec<u8>>> + Send + use<>> {
    let file = tokio::fs::File::open(path).await?;
    Ok(futures::stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok((read > 0).then_some((piece, file)))
    }))
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
    Ok(hex(hasher.finalize()))
}
