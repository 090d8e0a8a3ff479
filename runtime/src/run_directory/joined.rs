//! A run in several directories: its shards, read as one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Recording, RunError, RunRecord, read_run};
use crate::episode::Episode;
use crate::shard::Shard;
use crate::summary::EpisodeSummary;
use crate::text::SharedStr;

/// A run in one or several directories.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinedRun {
    /// The directories, in the order of their shards.
    pub paths: Vec<PathBuf>,
    /// What they have in common. It is the record of the directory if there is only one.
    pub record: RunRecord,
}

impl JoinedRun {
    /// The run in these directories, which are parts of one. Their order does not matter.
    ///
    /// # Errors
    /// [`RunError::Mixed`] if their settings differ in more than the shard.
    pub fn of(mut runs: Vec<(PathBuf, RunRecord)>) -> Result<Option<JoinedRun>, RunError> {
        runs.sort_by_cached_key(|(path, record)| {
            let shard = record.all_shards().min();
            (shard.is_none(), shard, record.started.clone(), path.clone())
        });
        let Some((first, record)) = runs.first() else { return Ok(None) };
        if runs.len() == 1 {
            return Ok(Some(JoinedRun { paths: vec![first.clone()], record: record.clone() }));
        }
        for (path, other) in &runs {
            let mut conflicts = record.conflicts(other);
            conflicts.extend(divided_differently(record, other));
            if !conflicts.is_empty() {
                let differences = conflicts.join("; ");
                return Err(RunError::Mixed {
                    one: first.clone(),
                    other: path.clone(),
                    differences,
                });
            }
        }
        let mut merged: Vec<_> =
            runs.iter().flat_map(|(path, record)| record.parts(path)).collect();
        merged.sort_by(|one, other| {
            (one.shard, &one.started, &one.run).cmp(&(other.shard, &other.started, &other.run))
        });
        merged.dedup();
        let started = runs.iter().map(|(_, record)| &record.started).min().cloned();
        let record = RunRecord {
            merged,
            started: started.unwrap_or_default(),
            // A later part of the record can be of an earlier version.
            tasks: runs.iter().find_map(|(_, record)| record.tasks),
            ..record.clone()
        };
        let paths = runs.iter().map(|(path, _)| path.clone()).collect();
        Ok(Some(JoinedRun { paths, record: record.undivided() }))
    }

    /// The run of one directory.
    ///
    /// # Errors
    /// [`RunError`] if there is no run.
    pub fn open(path: &Path) -> Result<JoinedRun, RunError> {
        Ok(JoinedRun { paths: vec![path.into()], record: read_run(path)? })
    }

    /// A name: the first directory, and how many more there are.
    pub fn name(&self) -> String {
        let first = self.paths.first().map(|path| path.display().to_string()).unwrap_or_default();
        match self.paths.len() {
            0 | 1 => first,
            2 => format!("{first} and 1 more shard"),
            count => format!("{first} and {} more shards", count - 1),
        }
    }
}

/// Runs of two divisions lack tasks and have others twice.
fn divided_differently(one: &RunRecord, other: &RunRecord) -> Option<String> {
    let of = |record: &RunRecord| record.all_shards().next().map(Shard::of);
    let (one, other) = (of(one)?, of(other)?);
    (one != other).then(|| format!("number of shards: {one}, and {other}"))
}

/// Joins the shards of one run among these runs. Others stay alone, and so do shards whose keys
/// differ. If a shard is there twice, there are two runs: shards that are in one folder belong
/// together, otherwise those that follow each other.
///
/// # Errors
/// As for [`JoinedRun::of`].
pub fn join_shards<K: PartialEq>(
    runs: Vec<(K, PathBuf, RunRecord)>,
) -> Result<Vec<(K, JoinedRun)>, RunError> {
    let mut groups: Vec<(K, Vec<(PathBuf, RunRecord)>)> = Vec::new();
    for (key, path, record) in runs {
        let Some(shard) = record.shard() else {
            groups.push((key, vec![(path, record)]));
            continue;
        };
        let takes = |(other, group): &&mut (K, Vec<(PathBuf, RunRecord)>)| {
            let lacks = group.iter().all(|(_, member)| {
                member
                    .shard()
                    .is_some_and(|other| other.of() == shard.of() && other.index() != shard.index())
            });
            *other == key && lacks && group[0].1.conflicts(&record).is_empty()
        };
        let near = |group: &[(PathBuf, RunRecord)]| group[0].0.parent() == path.parent();
        let mut fitting: Vec<_> = groups.iter_mut().filter(takes).collect();
        let at = fitting.iter().position(|(_, group)| near(group)).unwrap_or(0);
        match fitting.get_mut(at) {
            Some((_, group)) => group.push((path, record)),
            None => groups.push((key, vec![(path, record)])),
        }
    }
    let mut joined = Vec::new();
    for (key, group) in groups {
        joined.extend(JoinedRun::of(group)?.map(|run| (key, run)));
    }
    Ok(joined)
}

/// What a joined recording keeps of its parts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Everything, to read what is recorded later.
    All,
    Summaries,
    Places,
}

/// The episodes of a run in one or several directories. An episode that is in several, and
/// equal, is there once; a finished episode replaces an infrastructure failure.
#[derive(Debug)]
pub struct JoinedRecording {
    paths: Vec<PathBuf>,
    parts: Vec<Recording>,
    /// `None` if there is one part, which then has everything.
    joined: Option<Joined>,
    counts: Counts,
}

/// What was left out where directories were joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Episodes that are equal to another one.
    pub(super) equal: usize,
    /// Infrastructure failures that were run again.
    pub(super) replaced: usize,
}

#[derive(Debug, Default)]
struct Joined {
    /// The part of each episode, and its index there.
    places: Vec<(u32, u32)>,
    summaries: Vec<EpisodeSummary>,
}

impl JoinedRecording {
    /// Opens the episodes of a run.
    ///
    /// # Errors
    /// [`RunError`] if a directory cannot be read, or if two have the same episode and these
    /// differ.
    pub fn open(run: &JoinedRun) -> Result<Self, RunError> {
        Self::joined(&run.paths, Keep::Summaries)
    }

    /// Opens the episodes so that [`JoinedRecording::refresh`] reads what is recorded later.
    ///
    /// # Errors
    /// As for [`JoinedRecording::open`].
    pub fn open_live(run: &JoinedRun) -> Result<Self, RunError> {
        Self::joined(&run.paths, Keep::All)
    }

    /// Opens the episodes without their summaries, which need about 1 kB of memory per episode.
    ///
    /// # Errors
    /// As for [`JoinedRecording::open`].
    pub fn open_places(run: &JoinedRun) -> Result<Self, RunError> {
        Self::joined(&run.paths, Keep::Places)
    }

    fn joined(paths: &[PathBuf], keep: Keep) -> Result<Self, RunError> {
        let mut join = Join { paths, ..Join::default() };
        for path in paths {
            let recording = Recording::open(path)?;
            join.counts.replaced += recording.replaced();
            join.add(recording, keep)?;
        }
        let Join { parts, joined, counts, .. } = join;
        let joined = (paths.len() > 1).then_some(joined);
        Ok(JoinedRecording { paths: paths.into(), parts, joined, counts })
    }

    /// Makes reading in any order quick, as [`Recording::decompress_into`] does for each part.
    ///
    /// # Errors
    /// As there.
    pub fn decompress_into(&self, folder: &Path) -> Result<(), RunError> {
        self.parts.iter().try_for_each(|part| part.decompress_into(folder))
    }

    /// The number of episodes.
    pub fn len(&self) -> usize {
        match (&self.joined, &*self.parts) {
            (Some(joined), _) => joined.places.len(),
            (None, parts) => parts.iter().map(Recording::len).sum(),
        }
    }

    /// Whether there are no episodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The summaries: of the first directory in the order of first appearance, then of the
    /// next. Empty if the recording was opened without them.
    pub fn summaries(&self) -> &[EpisodeSummary] {
        match (&self.joined, &*self.parts) {
            (Some(joined), _) => &joined.summaries,
            (None, [one, ..]) => one.summaries(),
            (None, []) => &[],
        }
    }

    /// The episode at an index below [`JoinedRecording::len`].
    ///
    /// # Errors
    /// [`RunError`] if it cannot be read.
    pub fn episode(&self, at: usize) -> Result<Episode, RunError> {
        let (part, at) = self.place(at);
        self.parts[part].episode(at)
    }

    /// The directory of an episode.
    pub fn directory(&self, at: usize) -> &Path {
        &self.paths[self.place(at).0]
    }

    /// The directories, each with the number of its episodes.
    pub fn directories(&self) -> Vec<(&Path, usize)> {
        let mut counts = vec![0; self.paths.len()];
        match &self.joined {
            Some(joined) => joined.places.iter().for_each(|(part, _)| counts[*part as usize] += 1),
            None => counts.fill(self.len()),
        }
        self.paths.iter().map(PathBuf::as_path).zip(counts).collect()
    }

    /// Reads what was recorded since, if the recording was opened for that. True if there is
    /// something new. Indices stay valid only if there is one directory. After an error, the
    /// recording must be opened again.
    ///
    /// # Errors
    /// As for [`JoinedRecording::open`].
    pub fn refresh(&mut self) -> Result<bool, RunError> {
        let mut is_new = false;
        for part in &mut self.parts {
            is_new |= part.refresh()?;
        }
        if is_new && self.joined.is_some() {
            let mut join = Join { paths: &self.paths, ..Join::default() };
            for part in std::mem::take(&mut self.parts) {
                join.add(part, Keep::All)?;
            }
            (self.parts, self.joined) = (join.parts, Some(join.joined));
        }
        Ok(is_new)
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    fn place(&self, at: usize) -> (usize, usize) {
        match &self.joined {
            Some(joined) => {
                let (part, at) = joined.places[at];
                (part as usize, at as usize)
            }
            None => (0, at),
        }
    }
}

/// Joins recordings, one after the other.
#[derive(Default)]
struct Join<'a> {
    paths: &'a [PathBuf],
    parts: Vec<Recording>,
    joined: Joined,
    /// The index of each task and sample, and whether it is an infrastructure failure.
    known: HashMap<(SharedStr, u32), (usize, bool)>,
    counts: Counts,
}

impl Join<'_> {
    fn add(&mut self, recording: Recording, keep: Keep) -> Result<(), RunError> {
        let several = self.paths.len() > 1;
        let part = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        if several {
            for (at, summary) in (0..).zip(recording.summaries()) {
                self.take((part, at), summary, &recording, keep != Keep::Places)?;
            }
        }
        self.parts.push(match (keep, several) {
            (Keep::All, _) | (Keep::Summaries, false) => recording,
            (Keep::Summaries, true) | (Keep::Places, _) => recording.without_summaries(),
        });
        Ok(())
    }

    fn take(
        &mut self,
        place: (u32, u32),
        summary: &EpisodeSummary,
        recording: &Recording,
        summaries: bool,
    ) -> Result<(), RunError> {
        let failed = summary.infrastructure_failure();
        let (index, replaced) = match self.known.entry((summary.task.clone(), summary.sample)) {
            Entry::Vacant(free) => {
                free.insert((self.joined.places.len(), failed));
                self.joined.places.push(place);
                if summaries {
                    self.joined.summaries.push(summary.clone());
                }
                return Ok(());
            }
            Entry::Occupied(known) => *known.get(),
        };
        let is_better = match (replaced, failed) {
            (true, false) => true,
            (false, true) => false,
            (_, _) => {
                let (part, at) = self.joined.places[index];
                let earlier = self.parts[part as usize].episode(at as usize)?;
                let later = recording.episode(place.1 as usize)?;
                if earlier == later {
                    self.counts.equal += 1;
                    return Ok(());
                }
                if !failed {
                    return Err(RunError::Conflict {
                        task: summary.task.to_string(),
                        sample: summary.sample,
                        one: self.paths[part as usize].clone(),
                        other: self.paths[place.0 as usize].clone(),
                        parts: differing(&earlier, &later),
                    });
                }
                later.provenance.started > earlier.provenance.started
            }
        };
        self.counts.replaced += 1;
        if is_better {
            self.joined.places[index] = place;
            if summaries {
                self.joined.summaries[index] = summary.clone();
            }
            self.known.insert((summary.task.clone(), summary.sample), (index, failed));
        }
        Ok(())
    }
}

/// The fields in which two episodes differ.
fn differing(one: &Episode, other: &Episode) -> String {
    let [one, other] = [one, other].map(|episode| serde_json::to_value(episode).ok());
    let (Some(Value::Object(one)), Some(Value::Object(other))) = (one, other) else {
        return "unknown".into();
    };
    let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
    let keys: Vec<&str> =
        keys.filter(|key| one.get(*key) != other.get(*key)).map(String::as_str).collect();
    keys.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::RunDirectory;
    use super::super::tests::{episode, record};
    use super::*;
    use crate::episode::End;

    fn shard(text: &str, seed: u64) -> RunRecord {
        let mut record = RunRecord { seed, ..record() };
        if !text.is_empty() {
            record.config.insert("shard".into(), text.into());
        }
        record
    }

    /// Runs are `label folder shard seed`; the result has the folders of each joined run.
    #[track_caller]
    fn check(runs: &[(&str, &str, &str, u64)], expected: &[&[&str]]) {
        let runs = runs
            .iter()
            .map(|(label, folder, text, seed)| (*label, PathBuf::from(folder), shard(text, *seed)));
        let joined = join_shards(runs.collect()).unwrap();
        let folders = |run: &JoinedRun| -> Vec<String> {
            run.paths.iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(joined.iter().map(|(_, run)| folders(run)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn shards_of_one_run_are_joined() {
        let all = [("", "r/2", "2/3", 0), ("", "r/1", "1/3", 0), ("", "r/3", "3/3", 0)];
        check(&all, &[&["r/1", "r/2", "r/3"]]);
        check(&all[..2], &[&["r/1", "r/2"]]);
        let whole = [("", "a", "", 0), ("", "a", "", 0)];
        check(&whole, &[&["a"], &["a"]]);
        let (one, two) = (("", "r/1", "1/2", 0), ("", "r/2", "2/2", 0));
        check(&[one, ("", "a", "", 0), two], &[&["r/1", "r/2"], &["a"]]);
    }

    #[test]
    fn shards_of_different_runs_stay_apart() {
        let one = ("", "r/1", "1/2", 0);
        check(&[one, ("", "r/2", "2/2", 7)], &[&["r/1"], &["r/2"]]);
        check(&[one, ("", "r/2", "2/3", 0)], &[&["r/1"], &["r/2"]]);
        check(&[one, ("think", "r/2", "2/2", 0)], &[&["r/1"], &["r/2"]]);
        let (two, again) = (("", "r/2", "2/2", 0), ("", "s/1", "1/2", 0));
        let other = ("", "s/2", "2/2", 0);
        check(&[one, two, again, other], &[&["r/1", "r/2"], &["s/1", "s/2"]]);
        // Of two runs of one configuration, a shard goes to the one in its folder.
        check(&[one, again, other, two], &[&["r/1", "r/2"], &["s/1", "s/2"]]);
        check(&[one, ("", "t/2", "2/2", 0)], &[&["r/1", "t/2"]]);
    }

    #[test]
    fn a_joined_run_has_a_name_and_lists_its_shards() {
        let parts = ["1/4", "2/4", "4/4"].map(|text| {
            ((), PathBuf::from(format!("runs/{}", text.replace('/', "-"))), shard(text, 0))
        });
        let [((), run)] = &*join_shards(parts.into()).unwrap() else { panic!("one run") };
        assert_eq!(run.name(), "runs/1-4 and 2 more shards");
        assert_eq!(run.record.shard(), None);
        assert_eq!(run.record.shards(0).unwrap().to_string(), "3 of 4 shards, missing: 3");
    }

    #[test]
    fn episodes_of_shards_are_read_as_those_of_one_run() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = [("1/2", ["a", "c"]), ("2/2", ["b", "d"])];
        let runs = tasks.map(|(text, tasks)| {
            let (path, record) = (folder.path().join(&text[..1]), shard(text, 0));
            let (mut run, _) = RunDirectory::open(&path, &record).unwrap();
            for task in tasks {
                run.append(&episode(task, 0, End::Submitted)).unwrap();
            }
            ((), path, record)
        });
        let first = runs[0].1.clone();
        let [((), run)] = &*join_shards(runs.into()).unwrap() else { panic!("one run") };
        let tasks = |recording: &JoinedRecording| -> Vec<String> {
            (0..recording.len()).map(|at| recording.episode(at).unwrap().task.id).collect()
        };
        let recording = JoinedRecording::open(run).unwrap();
        assert_eq!(tasks(&recording), ["a", "c", "b", "d"]);
        let summaries: Vec<&str> = recording.summaries().iter().map(|one| &*one.task).collect();
        assert_eq!(summaries, ["a", "c", "b", "d"]);
        assert_eq!(recording.directory(2), folder.path().join("2"));
        let places = JoinedRecording::open_places(run).unwrap();
        assert_eq!((tasks(&places).len(), places.summaries().len()), (4, 0));

        let mut live = JoinedRecording::open_live(run).unwrap();
        assert!(!live.refresh().unwrap());
        let (mut more, _) = RunDirectory::open(&first, &shard("1/2", 0)).unwrap();
        more.append(&episode("e", 0, End::Submitted)).unwrap();
        assert!(live.refresh().unwrap());
        assert_eq!(tasks(&live), ["a", "c", "e", "b", "d"]);
        assert_eq!(live.summaries().len(), 5);
        let mut other = episode("b", 0, End::Submitted);
        other.provenance.seconds = 9.0;
        more.append(&other).unwrap();
        assert!(matches!(JoinedRecording::open(run), Err(RunError::Conflict { .. })));
    }
}
