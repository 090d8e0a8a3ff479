//! A run that is kept open: its record, the summaries of its episodes, and what is counted
//! over them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fixfly_runtime::{Episode, EpisodeSummary, RunRecord, read_run};

use super::engine::{Live, Polling};
use super::error::ViewError;
use super::facts::Facts;
use super::state::State;
use fixfly_runtime::Recording;

/// A run that is kept open.
pub(crate) struct Recorded {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) record: RunRecord,
    pub(crate) state: State,
    pub(crate) facts: Arc<Facts>,
    recording: Recording,
    /// The index of each task and sample.
    places: HashMap<(String, u32), usize>,
}

impl Recorded {
    pub(crate) fn open(name: &str, path: &Path) -> Result<Self, ViewError> {
        let record = read_run(path)?;
        let recording = Recording::open(path)?;
        let mut recorded = Recorded {
            name: name.into(),
            path: path.into(),
            record,
            state: State::Unknown,
            facts: Arc::default(),
            recording,
            places: HashMap::new(),
        };
        recorded.count();
        Ok(recorded)
    }

    /// Reads what was written since the last time.
    pub(crate) fn refresh(&mut self) -> Result<(), ViewError> {
        if self.recording.refresh()? {
            self.count();
        } else {
            self.state = State::of(&self.path, &self.record, self.facts.finished);
        }
        Ok(())
    }

    fn count(&mut self) {
        let summaries = self.recording.summaries();
        let key = |one: &EpisodeSummary| (one.task.to_string(), one.sample);
        self.places = summaries.iter().zip(0..).map(|(one, at)| (key(one), at)).collect();
        self.facts = Arc::new(Facts::of(&self.record, summaries));
        self.state = State::of(&self.path, &self.record, self.facts.finished);
    }

    pub(crate) fn summaries(&self) -> &[EpisodeSummary] {
        self.recording.summaries()
    }

    pub(crate) fn place(&self, task: &str, sample: u32) -> Option<usize> {
        self.places.get(&(task.to_string(), sample)).copied()
    }

    pub(crate) fn episode(&self, at: usize) -> Result<Episode, ViewError> {
        Ok(self.recording.episode(at)?)
    }

    /// A run that was stopped can go on.
    pub(crate) fn live(&self) -> Live {
        let polling = match self.state {
            State::Running => Polling::Running,
            State::Stopped | State::Unknown => Polling::Waiting,
            State::Done => Polling::Ended,
        };
        Live { version: self.version(), polling }
    }

    /// Changes when something new is recorded.
    pub(crate) fn version(&self) -> String {
        let Facts { finished, turns, failures, .. } = &*self.facts;
        format!("{}-{finished}-{turns}-{failures}", self.state.name())
    }
}
