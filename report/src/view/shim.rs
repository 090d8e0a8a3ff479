// Replaced by branch index: delete this file and its `mod` line, and let recorded.rs use
// fixfly_runtime::Recording.
use std::path::{Path, PathBuf};

use fixfly_runtime::{Episode, EpisodeSummary, RunError, read_episodes};

pub(crate) struct Recording {
    path: PathBuf,
    episodes: Vec<Episode>,
    summaries: Vec<EpisodeSummary>,
}

impl Recording {
    pub(crate) fn open(path: &Path) -> Result<Self, RunError> {
        let episodes = read_episodes(path)?;
        let summaries = episodes.iter().map(EpisodeSummary::of).collect();
        Ok(Recording { path: path.into(), episodes, summaries })
    }

    pub(crate) fn summaries(&self) -> &[EpisodeSummary] {
        &self.summaries
    }

    pub(crate) fn episode(&self, at: usize) -> Result<Episode, RunError> {
        Ok(self.episodes[at].clone())
    }

    pub(crate) fn refresh(&mut self) -> Result<bool, RunError> {
        let fresh = Recording::open(&self.path)?;
        let changed = fresh.summaries != self.summaries;
        *self = fresh;
        Ok(changed)
    }
}
