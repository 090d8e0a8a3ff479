//! The files of a plan's folder: what was submitted, and what the jobs wrote.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::Command;

use fixfly_runtime::{LockError, one_line, write_whole};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::job::JobFile;
use super::script::{Script, own_folder};
use super::state::INTERRUPTED;
use super::{ClusterError, Plan, PlannedJob};

/// Bytes at the end of a log in which its last line is looked for.
const TAIL: u64 = 8192;

/// What was submitted, and where.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Submissions {
    /// The user and the cluster.
    pub(super) place: String,
    /// Oldest first.
    pub(super) jobs: Vec<Submission>,
}

/// One call of sbatch. It is recorded before the call, and its id after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Submission {
    /// The job of the plan.
    pub(super) job: String,
    /// The name in Slurm's queue, which no other submission has.
    pub(super) name: String,
    /// Slurm's id; `None` until sbatch has returned it.
    pub(super) id: Option<u64>,
    pub(super) parts: Vec<u32>,
    /// The parts that had been lost.
    pub(super) lost: Vec<u32>,
}

impl Submission {
    /// Slurm's id of a part.
    pub(super) fn element(&self, job: &PlannedJob, part: u32) -> Option<String> {
        let id = self.id?;
        Some(if job.parts > 1 { format!("{id}_{part}") } else { id.to_string() })
    }
}

/// Refuses a plan in which a stage that is queued, running or done has another command.
pub(super) fn unchanged(
    then: &Plan,
    now: &Plan,
    submissions: &Submissions,
) -> Result<(), ClusterError> {
    let mut failed: Vec<&str> = Vec::new();
    for job in &then.jobs {
        let code = |part| JobFile::new(super::script::state(then, job, part)).exit();
        let is_failed = |part| code(part).is_some_and(|code| code != 0 && code != INTERRUPTED);
        // A command that failed may be corrected, and so may what waits for it: both are
        // submitted again.
        let waits = job.after.iter().any(|name| failed.contains(&&**name));
        if waits || (1..=job.parts).all(is_failed) {
            failed.push(&job.name);
        }
        if submissions.jobs.iter().all(|one| one.job != job.name) {
            continue;
        }
        let other = now.job(&job.name);
        let differs = match other {
            None => Some("place in the file"),
            Some(other) if other.command != job.command && !failed.contains(&&*job.name) => {
                Some("command")
            }
            Some(other) if other.parts != job.parts => Some("number of shards"),
            Some(other) if other.output != job.output => Some("output"),
            Some(_) if then.directory != now.directory => Some("current folder"),
            Some(_) => None,
        };
        if let Some(what) = differs {
            return Err(ClusterError::Changed { stage: job.name.clone(), what });
        }
    }
    Ok(())
}

/// Writes the scripts. bash has to be able to read each, because lines of the file are in it.
pub(super) fn write_scripts(scripts: &[Script]) -> Result<(), ClusterError> {
    for script in scripts {
        write_whole(&script.path, &script.text).map_err(ClusterError::io("write", &script.path))?;
        let checked = Command::new("bash").arg("-n").arg(&script.path).output();
        let checked = checked.map_err(ClusterError::io("run bash on", &script.path))?;
        if !checked.status.success() {
            let errors = String::from_utf8_lossy(&checked.stderr);
            let why = one_line(errors.trim());
            return Err(ClusterError::Usage(format!(
                "bash cannot read the script of a stage; correct the lines of `setup`: {why}"
            )));
        }
    }
    Ok(())
}

pub(super) fn lock(output: &Path) -> Result<File, ClusterError> {
    let file = own_folder(output).join("lock");
    fixfly_runtime::lock(&file).map_err(|error| match error {
        LockError::Busy(_) => ClusterError::Busy(output.into()),
        LockError::Io(why) => ClusterError::io("lock", &file)(why),
    })
}

pub(super) fn read<T: DeserializeOwned>(file: &Path) -> Result<T, ClusterError> {
    let text = fs::read(file).map_err(ClusterError::io("read", file))?;
    let wrong =
        |why: serde_json::Error| ClusterError::Damaged { file: file.into(), why: why.to_string() };
    serde_json::from_slice(&text).map_err(wrong)
}

pub(super) fn optional<T: DeserializeOwned + Default>(file: &Path) -> Result<T, ClusterError> {
    if file.exists() { read(file) } else { Ok(T::default()) }
}

pub(super) fn write<T: Serialize>(file: &Path, value: &T) -> Result<(), ClusterError> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    write_whole(file, text + "\n").map_err(ClusterError::io("write", file))
}

/// The last line of a log that is not empty.
pub(super) fn last_line(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let last = text.lines().rev().find(|line| !line.trim().is_empty())?;
    let last = last.trim().trim_start_matches("error: ");
    Some(last.chars().take(300).collect())
}
