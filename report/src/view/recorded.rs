//! A run that is kept open: its record, the summaries of its episodes, and what is counted
//! over them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use fixfly_runtime::{
    Episode, EpisodeSummary, JoinedRecording, JoinedRun, RunError, RunRecord, Shards, read_run,
};

use super::engine::{Live, Polling};
use super::error::ViewError;
use super::facts::Facts;
use super::state::State;

/// A run that is kept open.
pub(crate) struct Recorded {
    pub(crate) name: String,
    /// Its folder; of a divided run, that of its first shard.
    pub(crate) path: PathBuf,
    /// All its folders.
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) record: RunRecord,
    pub(crate) state: State,
    pub(crate) facts: Arc<Facts>,
    recording: JoinedRecording,
    /// The index of each task and sample.
    places: HashMap<(String, u32), usize>,
}

impl Recorded {
    /// Opens the run in these folders, which are shards if there are several.
    pub(crate) fn open(name: &str, paths: &[PathBuf]) -> Result<Self, ViewError> {
        let records = paths.iter().map(|path| Ok((path.clone(), read_run(path)?)));
        let run = JoinedRun::of(records.collect::<Result<_, RunError>>()?)?;
        let run = run.ok_or_else(|| RunError::NoRun(PathBuf::from(name)))?;
        let recording = JoinedRecording::open_live(&run)?;
        let mut recorded = Recorded {
            name: name.into(),
            path: run.paths[0].clone(),
            paths: run.paths,
            record: run.record,
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
            self.state = State::of(&self.paths, &self.record, self.facts.finished);
        }
        Ok(())
    }

    fn count(&mut self) {
        let summaries = self.recording.summaries();
        let key = |one: &EpisodeSummary| (one.task.to_string(), one.sample);
        self.places = summaries.iter().zip(0..).map(|(one, at)| (key(one), at)).collect();
        self.facts = Arc::new(Facts::of(&self.record, summaries));
        self.state = State::of(&self.paths, &self.record, self.facts.finished);
    }

    /// Which shards of a divided run are here.
    pub(crate) fn shards(&self) -> Option<Shards> {
        self.record.shards(self.facts.finished)
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
