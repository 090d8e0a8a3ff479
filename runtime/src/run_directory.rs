//! The run directory: `run.json` records the settings of the run, and `episodes.jsonl` has
//! one line per episode and is append-only.
//!
//! A line is on the disk before its episode is counted. A process that is killed at any
//! time loses only the running episodes.

mod record;
mod recording;
mod scan;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

pub use record::{Machine, RunRecord, SCHEMA, Wording};
pub use recording::Recording;

use crate::episode::Episode;
use crate::files::{is_partial, write_whole};
use crate::statement::TaskKind;
use scan::{parse, scan};

const RECORD: &str = "run.json";
const EPISODES: &str = "episodes.jsonl";
const LOCK: &str = "run.lock";
/// The unfinished `run.json` of older versions.
const DRAFT: &str = "run.json.new";

/// A run directory that is open for writing. No other process can open it at the same time.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    episodes: File,
    /// Bytes of complete lines.
    length: u64,
    /// Held, but never read.
    _lock: File,
}

impl RunDirectory {
    /// Creates the directory, or resumes the run in it if the record matches. Also returns
    /// the latest episode of each task and sample, without those that an infrastructure
    /// failure ended.
    ///
    /// # Errors
    /// [`RunError`], in one sentence that names the file and the remedy.
    pub fn open(path: &Path, record: &RunRecord) -> Result<(Self, Vec<Episode>), RunError> {
        fs::create_dir_all(path).map_err(|e| RunError::io(path, "make", e))?;
        let record_file = path.join(RECORD);
        if !record_file.exists() && holds_something_else(path)? {
            return Err(RunError::NotARun(path.into()));
        }
        let lock = lock(path)?;
        if record_file.exists() {
            let there = read_run(path)?;
            let differences = there.differences(record);
            if !differences.is_empty() {
                return Err(RunError::Different {
                    path: path.into(),
                    differences: differences.join("; "),
                });
            }
        } else {
            write_record(path, record)?;
        }
        let (episodes, length, earlier) = open_episodes(path)?;
        let finished = earlier.into_iter().filter(|e| !e.infrastructure_failure()).collect();
        Ok((RunDirectory { path: path.into(), episodes, length, _lock: lock }, finished))
    }

    /// Appends an episode. It is on the disk when this returns.
    ///
    /// # Errors
    /// [`RunError`] if it cannot be written; the file is then unchanged.
    pub fn append(&mut self, episode: &Episode) -> Result<(), RunError> {
        let file = self.path.join(EPISODES);
        let mut line = serde_json::to_vec(episode).map_err(|e| RunError::Corrupt {
            place: episode.task.id.clone(),
            why: e.to_string(),
        })?;
        line.push(b'\n');
        let written = self.episodes.write_all(&line).and_then(|()| self.episodes.sync_data());
        if let Err(error) = written {
            // A partial line would corrupt the next one. If this fails too, the next start
            // moves the partial line away.
            let _ = self.episodes.set_len(self.length);
            return Err(RunError::io(&file, "write", error));
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// The file of the episodes.
    pub fn episodes_file(&self) -> PathBuf {
        self.path.join(EPISODES)
    }
}

/// Reads the record of a run.
///
/// # Errors
/// [`RunError`] if there is no run, or this version cannot read it.
pub fn read_run(path: &Path) -> Result<RunRecord, RunError> {
    let file = path.join(RECORD);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(RunError::NoRun(path.into()));
        }
        Err(e) => return Err(RunError::io(&file, "read", e)),
    };
    parse(&text).map_err(|fault| fault.at(file.display().to_string(), "a run record"))
}

/// The latest episode of each task and sample, in the order of first appearance. Works
/// while the run continues.
///
/// # Errors
/// [`RunError`] if there is no run, or a line is not an episode.
pub fn read_episodes(path: &Path) -> Result<Vec<Episode>, RunError> {
    read_run(path)?;
    let file = path.join(EPISODES);
    match File::open(&file) {
        Ok(open) => Ok(scan(&file, &open)?.episodes),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(RunError::io(&file, "read", e)),
    }
}

fn holds_something_else(path: &Path) -> Result<bool, RunError> {
    for entry in fs::read_dir(path).map_err(|e| RunError::io(path, "read", e))? {
        let entry = entry.map_err(|e| RunError::io(path, "read", e))?;
        let name = entry.file_name();
        // A killed start leaves these files.
        if name != LOCK && name != DRAFT && !is_partial(&name) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lock(path: &Path) -> Result<File, RunError> {
    let file = path.join(LOCK);
    let lock = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&file)
        .map_err(|e| RunError::io(&file, "write", e))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(RunError::Busy(path.into())),
        Err(TryLockError::Error(e)) => Err(RunError::io(&file, "lock", e)),
    }
}

fn write_record(path: &Path, record: &RunRecord) -> Result<(), RunError> {
    let file = path.join(RECORD);
    let text = serde_json::to_string_pretty(record)
        .map_err(|e| RunError::Corrupt { place: RECORD.into(), why: e.to_string() })?;
    write_whole(&file, text + "\n").map_err(|e| RunError::io(&file, "write", e))
}

/// Moves a partial last line away and opens the file for appending.
fn open_episodes(path: &Path) -> Result<(File, u64, Vec<Episode>), RunError> {
    let file = path.join(EPISODES);
    let open = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(&file)
        .map_err(|e| RunError::io(&file, "write", e))?;
    let scan = scan(&file, &open)?;
    if !scan.torn.is_empty() {
        let aside = set_aside(path, &scan.torn)?;
        open.set_len(scan.whole)
            .and_then(|()| open.sync_all())
            .map_err(|e| RunError::io(&file, "write", e))?;
        tracing::warn!(
            "{}: the last line is incomplete; moved it to {}, and its episode runs again",
            file.display(),
            aside.display()
        );
    }
    Ok((open, scan.whole, scan.episodes))
}

fn set_aside(path: &Path, torn: &[u8]) -> Result<PathBuf, RunError> {
    let mut number = 1;
    loop {
        let aside = path.join(format!("episodes.torn-{number}.jsonl"));
        match File::create_new(&aside) {
            Ok(mut open) => {
                open.write_all(torn)
                    .and_then(|()| open.sync_all())
                    .map_err(|e| RunError::io(&aside, "write", e))?;
                return Ok(aside);
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(e) => return Err(RunError::io(&aside, "write", e)),
        }
    }
}

/// Why a run directory cannot be used: one sentence with the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder contains something else.
    #[error("{} is not a run directory: it is not empty and has no run.json; name an empty or a new folder", .0.display())]
    NotARun(PathBuf),
    /// There is no run.
    #[error("there is no run in {}: it has no run.json; name a folder that `fixfly run -o` wrote", .0.display())]
    NoRun(PathBuf),
    /// The directory contains another run.
    #[error("{} contains a run with other settings ({differences}); use the same flags to resume it, or name another folder", .path.display())]
    Different {
        /// The directory.
        path: PathBuf,
        /// Each difference, with both values.
        differences: String,
    },
    /// Another process is writing to it.
    #[error("{} is in use by another fixfly process; wait until it ends or name another folder", .0.display())]
    Busy(PathBuf),
    /// A newer version wrote it.
    #[error(
        "{place} was written by a newer fixfly (schema {schema}, this one reads up to {}); update fixfly to read it",
        TaskKind::newest_schema()
    )]
    Newer {
        /// The file, and the line if it has many.
        place: String,
        /// The schema version.
        schema: u32,
    },
    /// The contents are invalid.
    #[error("{place} is {why}; fix or remove it")]
    Corrupt {
        /// The file, and the line if it has many.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// The file system failed.
    #[error("cannot {verb} {}: {why}", .file.display())]
    Io {
        /// The operation: `read`, `write`, `make`, `lock`.
        verb: &'static str,
        /// The file.
        file: PathBuf,
        /// The reason, and the remedy.
        why: String,
    },
}

impl RunError {
    fn io(file: &Path, verb: &'static str, error: io::Error) -> Self {
        let remedy = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "; free some disk space and run the same command again to resume"
            }
            ErrorKind::PermissionDenied => "; change its permissions or name another folder",
            ErrorKind::ReadOnlyFilesystem => "; name a folder on a writable disk",
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                "; there is a file of this name, name another folder"
            }
            _ => "",
        };
        RunError::Io { verb, file: file.into(), why: format!("{error}{remedy}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::episode::{Boundary, End, FailureKind, Provenance};
    use crate::statement::{DescribedBy, Method, Statement};
    use crate::task::{SandboxSpec, Task};
    use tempfile::TempDir;

    fn episode(id: &str, sample: u32, end: End) -> Episode {
        let method = Method {
            file: "a.py".into(),
            class_name: "A".into(),
            name: "f".into(),
            declaration: "def f(self):".into(),
            decorators: Vec::new(),
            description: "Räum auf.\n".into(),
            described_by: DescribedBy::Docstring,
            content: String::new(),
            faulty: None,
            options: crate::FaultOptions::default(),
        };
        Episode {
            schema: SCHEMA,
            task: Task {
                id: id.into(),
                benchmark: "b".into(),
                statement: Statement::Method(method),
                sandbox: SandboxSpec::default(),
                tools: Vec::new(),
                budget: Budget { turns: 5, tokens: None, seconds: None, usd: None },
            },
            policy: "null".into(),
            provenance: Provenance { sample, seed: u64::MAX, seconds: 0.1, ..Default::default() },
            turns: Vec::new(),
            end,
            patch: None,
            left_out: Vec::new(),
            verdict: None,
        }
    }

    fn infrastructure() -> End {
        End::Failed {
            at: Boundary::Sandbox,
            kind: FailureKind::Infrastructure,
            why: "no memory".into(),
        }
    }

    fn record() -> RunRecord {
        RunRecord {
            schema: SCHEMA,
            fixfly: "0.1.0".into(),
            started: "2026-01-01T00:00:00Z".into(),
            config: [("policy".to_string(), "null".into())].into(),
            seed: 0,
            benchmark: [("tasks".to_string(), 3.into())].into(),
            templates: Wording { hash: "ab".into(), texts: Default::default() },
            isolation: "none".into(),
            machine: Machine::default(),
        }
    }

    /// A run directory with these episodes; removed when dropped.
    fn run_of(episodes: &[Episode]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let (mut run, _) = RunDirectory::open(folder.path(), &record()).unwrap();
        for episode in episodes {
            run.append(episode).unwrap();
        }
        folder
    }

    fn refused(path: &Path, record: &RunRecord) -> String {
        let error = RunDirectory::open(path, record).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error.replace(&path.display().to_string(), "RUN")
    }

    #[test]
    fn what_is_written_is_read_back_and_continued() {
        let episodes = [
            episode("a", 0, End::Submitted),
            episode("b", 0, infrastructure()),
            episode("a", 1, End::Solved),
        ];
        let folder = run_of(&episodes);
        assert_eq!(read_episodes(folder.path()).unwrap(), episodes);
        assert_eq!(read_run(folder.path()).unwrap(), record());

        let (mut run, finished) = RunDirectory::open(folder.path(), &record()).unwrap();
        assert_eq!(finished, [episodes[0].clone(), episodes[2].clone()], "b runs again");
        run.append(&episode("b", 0, End::Submitted)).unwrap();
        let ends: Vec<_> =
            read_episodes(folder.path()).unwrap().into_iter().map(|e| e.end).collect();
        assert_eq!(ends, [End::Submitted, End::Submitted, End::Solved], "the later line wins");
        assert_eq!(one_by_one(folder.path()).unwrap(), read_episodes(folder.path()).unwrap());
    }

    fn one_by_one(run: &Path) -> Result<Vec<Episode>, RunError> {
        let recording = Recording::open(run)?;
        (0..recording.len()).map(|at| recording.episode(at)).collect()
    }

    #[test]
    fn a_cut_anywhere_in_the_last_line_costs_that_line_only() {
        let whole = [episode("a", 0, End::Submitted), episode("b", 0, End::Submitted)];
        let folder = run_of(&whole);
        let file = folder.path().join(EPISODES);
        let kept = fs::read(&file).unwrap();
        let last = serde_json::to_vec(&episode("c", 0, End::Submitted)).unwrap();
        for cut in 1..=last.len() {
            let torn = &last[..cut];
            fs::write(&file, [&kept, torn].concat()).unwrap();
            assert_eq!(read_episodes(folder.path()).unwrap(), whole, "cut at {cut}");
            assert_eq!(one_by_one(folder.path()).unwrap(), whole, "cut at {cut}");

            let (mut run, finished) = RunDirectory::open(folder.path(), &record()).unwrap();
            assert_eq!(finished, whole, "cut at {cut}");
            assert_eq!(fs::read(&file).unwrap(), kept, "cut at {cut}");
            let aside = folder.path().join(format!("episodes.torn-{cut}.jsonl"));
            assert_eq!(fs::read(aside).unwrap(), torn);
            run.append(&episode("c", 0, End::Submitted)).unwrap();
            drop(run);
            assert_eq!(read_episodes(folder.path()).unwrap().len(), 3, "cut at {cut}");
        }
    }

    #[test]
    fn what_a_power_cut_leaves_at_the_end_is_set_aside_too() {
        for tail in [&b"\0\0\0\0"[..], b"{\"schema\":1,\0\0\0\n", b"\n", b"\xff"] {
            let folder = run_of(&[episode("a", 0, End::Submitted)]);
            let file = folder.path().join(EPISODES);
            let kept = fs::read(&file).unwrap();
            fs::write(&file, [&kept, tail].concat()).unwrap();
            let (_, finished) = RunDirectory::open(folder.path(), &record()).unwrap();
            assert_eq!(finished.len(), 1);
            assert_eq!(fs::read(&file).unwrap(), kept);
        }
    }

    #[track_caller]
    fn check_bad_line(line: &str, expected: &str) {
        let folder = run_of(&[episode("a", 0, End::Submitted)]);
        let file = folder.path().join(EPISODES);
        let good = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{good}{line}\n{good}")).unwrap();
        let error = refused(folder.path(), &record());
        assert!(error.starts_with(expected), "{error}");
        let said = |error: RunError| error.to_string();
        let whole = read_episodes(folder.path()).map_err(said);
        assert_eq!(one_by_one(folder.path()).map_err(said), whole);
        assert!(whole.is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{good}{line}\n{good}"));
    }

    #[test]
    fn a_bad_line_elsewhere_is_named_and_left_alone() {
        check_bad_line("{\"schema\":1,", "RUN/episodes.jsonl:2 is not JSON: EOF while parsing");
        check_bad_line("{\"schema\":1}", "RUN/episodes.jsonl:2 is not an episode: missing field");
        check_bad_line("", "RUN/episodes.jsonl:2 is not JSON:");
        check_bad_line(
            "{\"schema\":3}",
            "RUN/episodes.jsonl:2 was written by a newer fixfly (schema 3, this one reads up to 2)",
        );
    }

    #[test]
    fn a_run_made_differently_is_not_continued() {
        let folder = run_of(&[]);
        let mut other = record();
        other.config.insert("policy".into(), "oracle".into());
        other.config.insert("only".into(), "x*".into());
        other.seed = 7;
        other.benchmark.insert("tasks".into(), 4.into());
        other.started = "later".into();
        assert_eq!(
            refused(folder.path(), &other),
            "RUN contains a run with other settings (benchmark tasks was 3, now 4; only was not \
             set, now \"x*\"; policy was \"null\", now \"oracle\"; seed was 0, now 7); use the \
             same flags to resume it, or name another folder"
        );
        let elsewhere = RunRecord { machine: Machine { cpus: 64, ..record().machine }, ..record() };
        assert!(RunDirectory::open(folder.path(), &elsewhere).is_ok(), "any machine may continue");
    }

    #[test]
    fn a_folder_that_is_no_run_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "x").unwrap();
        assert!(refused(folder.path(), &record()).starts_with("RUN is not a run directory"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        let error = read_episodes(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("there is no run in "), "{error}");
        let file = folder.path().join("thesis.tex");
        assert!(refused(&file, &record()).starts_with("cannot make RUN: "));
        assert!(matches!(read_run(&file), Err(RunError::NoRun(_))));
    }

    #[test]
    fn a_start_that_was_killed_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(LOCK), "").unwrap();
        fs::write(folder.path().join(DRAFT), "{").unwrap();
        fs::write(folder.path().join(".aB3dE6.partial"), "{").unwrap();
        assert!(RunDirectory::open(folder.path(), &record()).is_ok());
        assert_eq!(read_run(folder.path()).unwrap(), record());
        fs::remove_file(folder.path().join(EPISODES)).unwrap();
        assert_eq!(read_episodes(folder.path()).unwrap(), [], "killed before the first episode");
    }

    #[test]
    fn a_record_that_cannot_be_read_is_named() {
        let folder = run_of(&[]);
        let file = folder.path().join(RECORD);
        fs::write(&file, "{").unwrap();
        assert!(refused(folder.path(), &record()).starts_with("RUN/run.json is not JSON: "));
        fs::write(&file, "{}").unwrap();
        assert!(refused(folder.path(), &record()).starts_with("RUN/run.json is not a run record"));
        fs::write(&file, "{\"schema\":99}").unwrap();
        assert!(refused(folder.path(), &record()).contains("newer fixfly (schema 99"));
    }

    #[test]
    fn one_run_has_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        let (run, _) = RunDirectory::open(folder.path(), &record()).unwrap();
        assert!(refused(folder.path(), &record()).starts_with("RUN is in use by another fixfly"));
        assert!(read_episodes(folder.path()).is_ok(), "but any number of readers");
        drop(run);
        assert!(RunDirectory::open(folder.path(), &record()).is_ok());
    }

    #[test]
    fn a_full_disk_is_reported_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let (mut run, _) = RunDirectory::open(folder.path(), &record()).unwrap();
        run.episodes = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let error = run.append(&episode("a", 0, End::Submitted)).unwrap_err().to_string();
        assert!(error.contains("episodes.jsonl: No space left on device"), "{error}");
        assert!(error.ends_with("free some disk space and run the same command again to resume"));
    }
}
