//! The paths that run most often. Each has a file of its own.

mod answer;
mod dataset;
mod episodes;
mod prompt;
mod report;
mod splice;
mod stream;
mod turn;

use std::path::Path;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::fault::Fault;

/// A path that runs often enough for its instructions to matter.
pub(crate) struct HotPath {
    /// Its name in the file of counts.
    pub(crate) name: &'static str,
    /// Rounds that are counted.
    pub(crate) rounds: u64,
    /// Prepares in an empty folder, then makes so many rounds.
    work: fn(&Path, u64),
}

/// All paths.
pub(crate) const ALL: &[HotPath] = &[
    // One episode of 20 turns, with a prompt for each.
    HotPath { name: "turn", rounds: 16, work: turn::work },
    // The conversation of five turns.
    HotPath { name: "prompt", rounds: 100, work: prompt::work },
    // Four answers: methods, and a shell command.
    HotPath { name: "answer", rounds: 50, work: answer::work },
    // A method found in a file of 120 and replaced.
    HotPath { name: "splice", rounds: 10, work: splice::work },
    // An episode of five turns, recorded.
    HotPath { name: "record", rounds: 50, work: episodes::record },
    // A run of 24 such episodes, opened without an index.
    HotPath { name: "index", rounds: 10, work: episodes::index },
    // The same, opened with its index, and every episode read.
    HotPath { name: "read", rounds: 10, work: episodes::read },
    // The report on that run.
    HotPath { name: "report", rounds: 20, work: report::work },
    // Rows of that run's episodes.
    HotPath { name: "dataset", rounds: 3, work: dataset::work },
    // An answer of 400 events.
    HotPath { name: "stream", rounds: 20, work: stream::work },
];

/// Makes rounds of the path of that name on one processor, so that what starts a thread per
/// processor starts as many everywhere.
pub(crate) fn run(name: &str, rounds: &str, cpu: &str) -> Result<(), Fault> {
    let wrong = |what: &str| Fault::Usage(format!("{what}: see `counts`"));
    let path = ALL.iter().find(|path| path.name == name);
    let path = path.ok_or_else(|| wrong(&format!("there is no path `{name}`")))?;
    let rounds = rounds.parse().map_err(|_| wrong(&format!("`{rounds}` is no number")))?;
    let cpu = cpu.parse().map_err(|_| wrong(&format!("`{cpu}` is no number")))?;
    stay_on(cpu).map_err(|why| wrong(&format!("no processor of its own ({why})")))?;
    let folder = tempfile::tempdir().map_err(|why| Fault::file(Path::new("TMPDIR"), &why))?;
    (path.work)(folder.path(), rounds);
    Ok(())
}

/// Keeps this process on one of the processors that it may use.
fn stay_on(index: usize) -> nix::Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let is_allowed = |cpu: &usize| allowed.is_set(*cpu).unwrap_or(false);
    let all: Vec<usize> = (0..CpuSet::count()).filter(is_allowed).collect();
    let mut one = CpuSet::new();
    one.set(all.get(index % all.len().max(1)).copied().unwrap_or_default())?;
    sched_setaffinity(this, &one)
}
