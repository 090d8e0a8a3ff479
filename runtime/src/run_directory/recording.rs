//! Reads a run's episodes one at a time, so that a run need not fit in memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::index::{self, Appender, Covered, INDEX, Place, hash_of, modified};
use super::lines::{Line, LineError, lines};
use super::parse::parse_episode;
use super::{EPISODES, RunError, read_run};
use crate::episode::Episode;
use crate::hash::sha256;
use crate::home::home;
use crate::summary::EpisodeSummary;
use crate::text::{SharedStr, StrPool};

/// An index that lacks more bytes than this is written again.
const MANY: u64 = 4 << 20;
/// Lines that are compared if there are new lines after them.
const COMPARED: usize = 16;

/// The latest episode of each task and sample of a run, by its position in the file, with
/// its summary. Works while the run continues.
///
/// An index beside the episodes saves reading them. It is made anew if it does not match, and
/// kept in the user's cache if the run directory cannot be written to.
#[derive(Debug)]
pub struct Recording {
    folder: PathBuf,
    path: PathBuf,
    file: Option<File>,
    /// The folder of the indexes of run directories that cannot be written to.
    cache: PathBuf,
    places: Vec<Place>,
    summaries: Vec<EpisodeSummary>,
    known: HashMap<(SharedStr, u32), usize>,
    names: StrPool,
    covered: Covered,
    /// Whether the index in the run directory covers exactly this.
    stored: bool,
}

impl Recording {
    /// Opens the episodes of a run directory. Only the last line may be partial; it is left
    /// out.
    ///
    /// # Errors
    /// [`RunError`] if there is no run, or a line is not an episode.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        read_run(path)?;
        Self::open_unrecorded(path)
    }

    /// Opens the episodes of a folder that may have no `run.json` yet.
    pub(super) fn open_unrecorded(path: &Path) -> Result<Self, RunError> {
        Self::open_with(path, &home().join("indexes"))
    }

    pub(super) fn open_with(folder: &Path, cache: &Path) -> Result<Self, RunError> {
        let mut recording = Recording {
            folder: folder.into(),
            path: folder.join(EPISODES),
            file: None,
            cache: cache.into(),
            places: Vec::new(),
            summaries: Vec::new(),
            known: HashMap::new(),
            names: StrPool::default(),
            covered: Covered::default(),
            stored: false,
        };
        recording.load()?;
        Ok(recording)
    }

    /// The number of episodes.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are no episodes.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The number of episodes that a later one of the same task and sample replaced. Not known
    /// of a recording without summaries.
    pub fn replaced(&self) -> usize {
        self.covered.lines.saturating_sub(self.places.len())
    }

    /// The summaries, in the order of first appearance.
    pub fn summaries(&self) -> &[EpisodeSummary] {
        &self.summaries
    }

    /// The summaries without the rest.
    pub fn into_summaries(self) -> Vec<EpisodeSummary> {
        self.summaries
    }

    /// The recording without its summaries, which need about 1 kB of memory per episode. It
    /// can still read episodes.
    #[must_use]
    pub fn without_summaries(self) -> Recording {
        Recording {
            summaries: Vec::new(),
            known: HashMap::new(),
            names: StrPool::default(),
            covered: Covered::default(),
            stored: false,
            ..self
        }
    }

    /// The episode at an index below [`Recording::len`]: the index of its summary.
    ///
    /// # Errors
    /// [`RunError`] if the line is not that episode.
    pub fn episode(&self, at: usize) -> Result<Episode, RunError> {
        let place = self.places[at];
        let Ok(length) = usize::try_from(place.length) else {
            return Err(RunError::Changed { place: self.named(place.line) });
        };
        let mut line = vec![0; length];
        if let Some(file) = &self.file {
            file.read_exact_at(&mut line, place.offset).map_err(|e| match e.kind() {
                ErrorKind::UnexpectedEof => RunError::Changed { place: self.named(place.line) },
                _ => RunError::io(&self.path, "read", e),
            })?;
        }
        let parsed = parse_episode(&line);
        let episode = parsed.map_err(|fault| fault.at(self.named(place.line), "an episode"))?;
        let is_other = |summary: &EpisodeSummary| {
            *summary.task != *episode.task.id || summary.sample != episode.provenance.sample
        };
        match self.summaries.get(at).is_some_and(is_other) {
            true => Err(RunError::Changed { place: self.named(place.line) }),
            false => Ok(episode),
        }
    }

    /// Reads what was recorded since. True if there is something new. Indices stay valid
    /// unless the file was changed otherwise than by appending.
    ///
    /// # Errors
    /// [`RunError`] if a line is not an episode.
    pub fn refresh(&mut self) -> Result<bool, RunError> {
        let Some(file) = self.opened()? else {
            let something = !self.is_empty();
            self.forget();
            return Ok(something);
        };
        if !self.matches(&self.covered, &file)? {
            let was_empty = self.is_empty();
            self.load()?;
            return Ok(!(was_empty && self.is_empty()));
        }
        let before = self.covered.bytes;
        self.extend(&file)?;
        self.file = Some(file);
        if self.covered.bytes - before > MANY {
            self.store();
        }
        Ok(self.covered.bytes > before)
    }

    /// The run directory.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes of complete lines.
    pub(super) fn bytes(&self) -> u64 {
        self.covered.bytes
    }

    /// Extends the index in the run directory by the episodes that follow. `None` if it
    /// cannot be written. Only the holder of the run's lock may call this.
    pub(super) fn appender(&mut self, episodes: &File) -> Option<Appender> {
        let index = self.folder.join(INDEX);
        if self.covered.bytes == 0 {
            // The first episode needs the last of the disk more than the index does.
            return Appender::create(&index).ok();
        }
        let now = modified(&episodes.metadata().ok()?);
        if self.covered.modified != now {
            self.covered.modified = now;
            self.stored = false;
        }
        if !self.stored {
            self.store();
        }
        self.stored.then(|| Appender::open(&index, self.covered.clone()).ok()).flatten()
    }

    fn named(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    fn opened(&self) -> Result<Option<File>, RunError> {
        match File::open(&self.path) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(RunError::io(&self.path, "read", e)),
        }
    }

    /// Reads an index that matches, and then the episodes that it lacks.
    fn load(&mut self) -> Result<(), RunError> {
        self.forget();
        let Some(file) = self.opened()? else { return Ok(()) };
        let (own, cached) = (self.folder.join(INDEX), self.cached());
        let matches =
            self.read_index(&own, &file, true)? || self.read_index(&cached, &file, false)?;
        let before = self.covered.bytes;
        let read = self.extend(&file).map(|()| self.covered.bytes - before);
        if !matches && read.is_err() {
            // An index that does not match could seem to match when new lines follow.
            for index in [own, cached] {
                let _ = fs::remove_file(index);
            }
        }
        let read = read?;
        self.file = Some(file);
        if read > MANY || (!matches && read > 0) {
            self.store();
        }
        self.places.shrink_to_fit();
        self.summaries.shrink_to_fit();
        Ok(())
    }

    fn forget(&mut self) {
        self.file = None;
        self.places.clear();
        self.summaries.clear();
        self.known.clear();
        self.covered = Covered::default();
        self.stored = false;
    }

    /// Whether this index matches the episodes. Nothing is kept of one that does not.
    fn read_index(&mut self, index: &Path, file: &File, own: bool) -> Result<bool, RunError> {
        let loaded = index::load(index, |place, summary| self.take(place, summary));
        if let Some(loaded) = loaded
            && self.matches(&loaded.covered, file)?
        {
            self.covered = loaded.covered;
            self.stored = own && loaded.complete;
            return Ok(true);
        }
        self.forget();
        Ok(false)
    }

    /// Whether the file still begins with what is covered. If it is longer, some of its lines
    /// are compared with their summaries: somebody may have edited it.
    fn matches(&self, covered: &Covered, file: &File) -> Result<bool, RunError> {
        let fault = |e| RunError::io(&self.path, "read", e);
        let longer = file.metadata().map_err(fault)?.len() > covered.bytes;
        if !covered.is_of(file).map_err(fault)? {
            return Ok(false);
        }
        let step = self.places.len().div_ceil(COMPARED).max(1);
        let mut some = (0..self.places.len()).step_by(step).filter(|_| longer);
        Ok(some.all(|at| {
            let Place { offset, length, .. } = self.places[at];
            let mut line = vec![0; usize::try_from(length).unwrap_or_default()];
            let read = file.read_exact_at(&mut line, offset);
            let episode = read.ok().and_then(|()| parse_episode(&line).ok());
            let found = episode.map(|episode| compared(EpisodeSummary::of(&episode)));
            found == Some(compared(self.summaries[at].clone()))
        }))
    }

    /// Reads the lines after those that are known. After an error, none is.
    fn extend(&mut self, file: &File) -> Result<(), RunError> {
        let read = self.try_extend(file);
        if read.is_err() {
            self.forget();
        }
        read
    }

    fn try_extend(&mut self, file: &File) -> Result<(), RunError> {
        let fault = |e| RunError::io(&self.path, "read", e);
        let facts = file.metadata().map_err(fault)?;
        let mut covered = self.covered.clone();
        let before = covered.lines;
        for part in lines(file, covered.bytes..facts.len()) {
            let part = part.map_err(|error| match error {
                LineError::Io(error) => RunError::io(&self.path, "read", error),
                LineError::Fault { nth, fault } => {
                    fault.at(self.named(covered.lines + nth + 1), "an episode")
                }
            })?;
            for Line { start, length, summary } in part {
                covered.bytes = start + length;
                covered.lines += 1;
                covered.last = start;
                let place = Place { frame: 0, offset: start, length, line: covered.lines };
                self.take(place, summary);
            }
        }
        if covered.lines > before {
            let hash = hash_of(file, covered.last, covered.bytes);
            covered.hash = hash.map_err(|e| RunError::io(&self.path, "read", e))?;
            covered.modified = modified(&facts);
            self.covered = covered;
            self.stored = false;
        }
        Ok(())
    }

    fn take(&mut self, place: Place, mut summary: EpisodeSummary) {
        summary.share(&mut self.names);
        match self.known.entry((summary.task.clone(), summary.sample)) {
            Entry::Occupied(at) => {
                self.places[*at.get()] = place;
                self.summaries[*at.get()] = summary;
            }
            Entry::Vacant(free) => {
                free.insert(self.places.len());
                self.places.push(place);
                self.summaries.push(summary);
            }
        }
    }

    /// Writes the index, into the cache if the run directory cannot be written to, or
    /// nowhere.
    fn store(&mut self) {
        let entries = || self.places.iter().copied().zip(&self.summaries);
        let own = index::write(&self.folder.join(INDEX), &self.covered, entries());
        self.stored = own.is_ok();
        let Err(error) = own else { return };
        let cached = self.cached();
        let written = fs::create_dir_all(&self.cache)
            .and_then(|()| index::write(&cached, &self.covered, entries()));
        if let Err(other) = written {
            tracing::debug!("cannot write an index of {}: {error}; {other}", self.path.display());
        }
    }

    /// The index in the cache.
    fn cached(&self) -> PathBuf {
        let folder = self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone());
        self.cache.join(format!("{}.jsonl", sha256(folder.as_os_str().as_bytes())))
    }
}

/// A summary without its decimal fractions: their last digit can differ after they were
/// written and read again.
fn compared(mut summary: EpisodeSummary) -> EpisodeSummary {
    summary.seconds = 0.0;
    summary.turns.iter_mut().for_each(|turn| turn.usage.usd = None);
    summary
}

#[cfg(test)]
mod tests;
