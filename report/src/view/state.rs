//! Whether a run is running, stopped or done.

use std::path::{Path, PathBuf};

use fixfly_runtime::{LockError, RunRecord, lock_shared};
use serde::Serialize;
use serde_json::Value;

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// A process writes to it.
    Running,
    /// No process writes to it, and episodes are missing.
    Stopped,
    /// All its episodes are recorded.
    Done,
    /// No process writes to it, and its record has no number of episodes.
    Unknown,
}

impl State {
    /// The state of a run in these folders with this many finished episodes.
    pub(crate) fn of(run: &[PathBuf], record: &RunRecord, finished: usize) -> State {
        if run.iter().any(|folder| is_locked(folder)) {
            return State::Running;
        }
        match expected(record) {
            Some(expected) if finished >= expected => State::Done,
            Some(_) => State::Stopped,
            None => State::Unknown,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Stopped => "stopped",
            State::Done => "done",
            State::Unknown => "unknown",
        }
    }
}

/// The number of episodes that the run has in the end, as far as it is recorded. In records of
/// earlier versions, neither the tasks that a pattern selects nor those that a sandbox supports
/// are.
pub(crate) fn expected(record: &RunRecord) -> Option<usize> {
    if let Some(expected) = record.expected_episodes() {
        return Some(expected);
    }
    let config = |key: &str| record.config.get(key).filter(|value| !value.is_null());
    if config("only").is_some() || config("sandbox").is_some_and(|sandbox| sandbox == "wasm") {
        return None;
    }
    let tasks = record.benchmark.get("tasks").and_then(Value::as_u64)?;
    // Imported trajectories record neither samples nor a limit.
    let samples = config("samples").map_or(Some(1), Value::as_u64)?;
    let limit = config("limit").map_or(Some(u64::MAX), Value::as_u64)?;
    usize::try_from(tasks.min(limit).checked_mul(samples)?).ok()
}

/// Whether a process holds the lock of the run. The lock is released at once, so that a
/// run that starts at this moment is hardly ever refused.
fn is_locked(run: &Path) -> bool {
    matches!(lock_shared(&run.join("run.lock")), Err(LockError::Busy(_)))
}

#[cfg(test)]
mod tests {
    use fixfly_runtime::TaskCounts;

    use super::*;
    use crate::view::fixture;

    #[test]
    fn the_number_of_episodes_is_known_only_if_it_is_recorded() {
        #[track_caller]
        fn check(changes: &[(&str, Value)], expected_episodes: Option<usize>) {
            let mut record = fixture::record();
            let changes = changes.iter().map(|(key, value)| ((*key).to_string(), value.clone()));
            record.config.extend(changes);
            assert_eq!(expected(&record), expected_episodes);
        }
        check(&[], Some(3));
        check(&[("samples", 2.into())], Some(6));
        check(&[("samples", 2.into()), ("limit", 1.into())], Some(2));
        check(&[("only", "django/*".into())], None);
        check(&[("sandbox", "wasm".into())], None);
        let mut record = fixture::record();
        record.config.insert("only".into(), "django/*".into());
        record.tasks = Some(TaskCounts { selected: 7, shard: None });
        assert_eq!(expected(&record), Some(7));
        record.tasks = Some(TaskCounts { selected: 7, shard: Some(2) });
        assert_eq!(expected(&record), Some(2));
    }

    #[test]
    fn a_run_is_running_while_a_process_holds_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let record = fixture::record();
        let paths = ["elsewhere".into(), folder.path().to_path_buf()];
        let state = |finished| State::of(&paths, &record, finished);
        assert_eq!([state(2), state(3)], [State::Stopped, State::Done]);
        let lock = std::fs::File::create(folder.path().join("run.lock")).unwrap();
        assert_eq!(state(2), State::Stopped);
        lock.lock().unwrap();
        assert_eq!(state(2), State::Running);
        lock.unlock().unwrap();
        assert_eq!(state(2), State::Stopped);
    }
}
