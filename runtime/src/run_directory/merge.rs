//! Merges run directories into a new one: `fixfly merge-runs`.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::compress::compress_run;
use super::index::INDEX;
use super::{
    COMPRESSED, DRAFT, EPISODES, JoinedRecording, JoinedRun, LOCK, RECORD, RunDirectory, RunError,
    RunRecord, SCHEMA, holds_something_else, lock, not_locked, read_run, write_record,
};
use crate::files::is_partial;
use crate::lock::lock_shared;
use crate::text::thousands;

/// The record until the merge ends. A folder with it contains no run.
const UNFINISHED: &str = "run.json.merging";
/// The folder of the journal of paid calls.
const JOURNAL: &str = "journal";
/// Made of the episodes, so the merged run has its own.
const DERIVED: &str = "preds.json";

/// What a merge wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct MergeSummary {
    /// The directory of the merged run.
    pub output: PathBuf,
    /// Its record.
    pub record: RunRecord,
    /// The number of merged runs.
    pub runs: usize,
    /// Its episodes.
    pub episodes: usize,
    /// Episodes that infrastructure failures ended.
    pub failures: usize,
    /// Episodes that were left out because they are equal to another one.
    pub equal: usize,
    /// Infrastructure failures that were left out because they were run again.
    pub replaced: usize,
}

impl MergeSummary {
    /// The number of episodes that are left to run; `None` if the number of all is unknown.
    pub fn open_episodes(&self) -> Option<usize> {
        let expected = self.record.expected_episodes()?;
        Some(expected.saturating_sub(self.episodes - self.failures))
    }
}

impl Display for MergeSummary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let output = self.output.display();
        let many = |count: usize, one: &str, several: &str| {
            format!("{} {}", thousands(count as u64), if count == 1 { one } else { several })
        };
        let episodes = many(self.episodes, "episode", "episodes");
        write!(f, "{output}: {episodes} of {}", many(self.runs, "run", "runs"))?;
        if let Some(shards) = self.record.shards(self.episodes - self.failures) {
            write!(f, ", {shards}")?;
        }
        writeln!(f)?;
        if self.equal > 0 {
            let equal = many(self.equal, "episode that equals", "episodes that equal");
            writeln!(f, "left out: {equal} another one")?;
        }
        if self.replaced > 0 {
            let failures = ("infrastructure failure that was", "infrastructure failures that were");
            let replaced = many(self.replaced, failures.0, failures.1);
            writeln!(f, "left out: {replaced} run again")?;
        }
        match self.open_episodes() {
            None | Some(0) => Ok(()),
            Some(open) => writeln!(
                f,
                "{} left: run `fixfly run` with the flags of these runs, without --shard, and -o {output}",
                many(open, "episode is", "episodes are")
            ),
        }
    }
}

/// Merges runs that are parts of one into a new directory. The order of `runs` does not matter.
/// Episodes are read and written one at a time, and compressed if those of all runs are. The new directory is complete or contains no
/// run: after a killed merge, the same call begins again.
///
/// `join_journals` joins the journals of paid calls in these folders into a folder that exists.
/// All other files of a run go into a folder of its own in the merged one.
///
/// # Errors
/// [`RunError`] if the runs are not parts of one, an episode is in two of them and differs, one
/// of them is in use, or the output contains something else.
pub fn merge_runs(
    runs: &[PathBuf],
    output: &Path,
    join_journals: impl FnOnce(&[PathBuf], &Path) -> Result<(), String>,
) -> Result<MergeSummary, RunError> {
    let runs = inputs(runs, output);
    let _held: Vec<Option<File>> = runs.iter().map(|run| hold(run)).collect::<Result<_, _>>()?;
    let records = runs.into_iter().map(|run| read_run(&run).map(|record| (run, record)));
    let Some(run) = JoinedRun::of(records.collect::<Result<_, _>>()?)? else {
        return Err(RunError::NoRun(output.into()));
    };
    // What cannot be merged is refused before anything is written.
    let episodes = JoinedRecording::open_places(&run)?;
    let record = merged(&run);
    let mut directory = begin(output, &record)?;
    let mut failures = 0;
    for at in 0..episodes.len() {
        let episode = episodes.episode(at)?;
        failures += usize::from(episode.infrastructure_failure());
        directory.write(&episode, false)?;
    }
    directory.sync()?;
    let journals: Vec<PathBuf> = run.paths.iter().map(|run| run.join(JOURNAL)).collect();
    let journals: Vec<PathBuf> = journals.into_iter().filter(|folder| folder.is_dir()).collect();
    if !journals.is_empty() {
        let folder = output.join(JOURNAL);
        fs::create_dir_all(&folder).map_err(|e| RunError::io(&folder, "make", e))?;
        join_journals(&journals, &folder).map_err(RunError::Journal)?;
    }
    copy_rest(&run, output)?;
    let to = output.join(RECORD);
    fs::rename(output.join(UNFINISHED), &to)
        .and_then(|()| File::open(output)?.sync_all())
        .map_err(|e| RunError::io(&to, "write", e))?;
    // Until here the merged run is complete and plain, so a kill loses nothing.
    drop(directory);
    if run.paths.iter().all(|run| run.join(COMPRESSED).exists()) {
        compress_run(output)?;
    }
    let counts = episodes.counts();
    Ok(MergeSummary {
        output: output.into(),
        record,
        runs: run.paths.len(),
        episodes: episodes.len(),
        failures,
        equal: counts.equal,
        replaced: counts.replaced,
    })
}

/// Whether a merge into this folder did not end.
pub(super) fn is_unfinished(folder: &Path) -> bool {
    folder.join(UNFINISHED).exists()
}

/// The runs without repetitions, and without an unfinished output: a pattern such as `runs/*`
/// can name it.
fn inputs(runs: &[PathBuf], output: &Path) -> Vec<PathBuf> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let (mut known, output) = (BTreeSet::new(), real(output));
    let is_output = |path: &Path| path == output && !path.join(RECORD).exists();
    let own = runs.iter().filter(|run| {
        let run = real(run);
        !is_output(&run) && known.insert(run)
    });
    own.cloned().collect()
}

/// Holds a run so that no process writes to it. A run that nobody can write to has no lock.
fn hold(run: &Path) -> Result<Option<File>, RunError> {
    lock_shared(&run.join(LOCK)).map_err(|error| not_locked(run, error))
}

/// The record of the merged run.
fn merged(run: &JoinedRun) -> RunRecord {
    let record = run.record.clone();
    let merged = match &*run.paths {
        [only] => record.parts(only),
        _ => record.merged.clone(),
    };
    // How its files are written is its own matter.
    RunRecord { schema: SCHEMA, merged, ..record }.undivided()
}

/// Opens the output, without what a killed merge left in it.
fn begin(output: &Path, record: &RunRecord) -> Result<RunDirectory, RunError> {
    fs::create_dir_all(output).map_err(|e| RunError::io(output, "make", e))?;
    let refuse = || match output.join(RECORD).exists() {
        true => Err(RunError::Occupied(output.into())),
        false => Ok(()),
    };
    refuse()?;
    if !is_unfinished(output) && holds_something_else(output)? {
        return Err(RunError::NotARun(output.into()));
    }
    let lock = lock(output)?;
    // Another merge may have ended while this one waited for nothing.
    refuse()?;
    if is_unfinished(output) {
        clear(output).map_err(|e| RunError::io(output, "write", e))?;
    }
    write_record(&output.join(UNFINISHED), record)?;
    Ok(RunDirectory::locked(output, lock, false)?.0)
}

/// Removes everything but the lock and the mark of a merge.
fn clear(output: &Path) -> io::Result<()> {
    for entry in fs::read_dir(output)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false if entry.file_name() == LOCK || entry.file_name() == UNFINISHED => {}
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Copies the other files of each run into a folder of its own.
fn copy_rest(run: &JoinedRun, output: &Path) -> Result<(), RunError> {
    let mut used = BTreeSet::new();
    for (number, path) in (1..).zip(&run.paths) {
        let label = match read_run(path)?.shard() {
            Some(shard) => format!("shard-{}", shard.index()),
            None => format!("run-{number}"),
        };
        // A shard can be there twice.
        let label = match used.insert(label.clone()) {
            true => label,
            false => format!("{label}-{number}"),
        };
        for entry in fs::read_dir(path).map_err(|e| RunError::io(path, "read", e))? {
            let entry = entry.map_err(|e| RunError::io(path, "read", e))?;
            let name = entry.file_name();
            if !is_of_run(&name.to_string_lossy()) && !is_partial(&name) {
                let to = output.join(&label).join(&name);
                copy(&entry.path(), &to).map_err(|e| RunError::io(&to, "write", e))?;
            }
        }
    }
    Ok(())
}

/// Whether the merged run has a file of this name itself, or a run needs it only while it runs.
fn is_of_run(name: &str) -> bool {
    let stem = INDEX.trim_end_matches(".jsonl");
    [RECORD, LOCK, DRAFT, UNFINISHED, JOURNAL, DERIVED].contains(&name)
        || name.starts_with(EPISODES)
        || name.starts_with(stem)
}

/// Copies a file, a link or a folder. What is none of these contains nothing.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    if kind.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if kind.is_file() {
        fs::copy(from, to)?;
        File::open(to)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "merge/tests.rs"]
mod tests;
