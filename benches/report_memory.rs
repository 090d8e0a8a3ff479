//! What `fixfly report` and resuming a run take, in time and in memory, for a run of many
//! episodes: with an index, and without one.
//!
//! ```text
//! cargo bench --bench report_memory -- [--episodes 100000] [--bytes 8192]
//! ```
//!
//! The episodes have one to five turns and are copies of a recorded one, with other names and
//! more text. Its benchmark is not there, so the report compares no methods with references.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Took, flag, took};
use fixfly_runtime::{End, Episode, Limit, Outcome, RunDirectory, read_run};

const TURNS: usize = 5;
const INDEX: &str = "episodes.index.jsonl";

fn main() {
    let resumed: PathBuf = flag("--resume", PathBuf::new());
    if !resumed.as_os_str().is_empty() {
        return resume(&resumed);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let read = make(&run, flag("--episodes", 100_000), flag("--bytes", 8_192));
    let mut report = Command::new(env!("CARGO_BIN_EXE_fixfly"));
    report.arg("report").arg(&run).env("FIXFLY_HOME", folder.path().join("home"));
    print("report, no index", read, &took(&mut report));
    let index = fs::metadata(run.join(INDEX)).expect("the index").len();
    print("report, index", index, &took(&mut report));
    let mut again = Command::new(std::env::current_exe().expect("this program"));
    again.arg("--resume").arg(&run);
    print("resume, index", index, &took(&mut again));
    fs::remove_file(run.join(INDEX)).expect("the index");
    print("resume, no index", read, &took(&mut again));
}

fn print(what: &str, read: u64, Took { seconds, memory }: &Took) {
    let read = read as f64 / (1 << 20) as f64;
    println!("{what:16} {read:>7.1} MiB read: {seconds:>6.2} s, {memory:>6.1} MiB resident");
}

/// What a run does before its first new episode.
fn resume(run: &Path) {
    let record = read_run(run).expect("a run");
    let (_, recorded) = RunDirectory::open(run, &record).expect("a run that can be resumed");
    assert!(!recorded.is_empty(), "the run has episodes");
}

/// Makes a run of so many episodes of about so many bytes. Returns the bytes of all.
fn make(run: &Path, count: usize, bytes: usize) -> u64 {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded/run");
    fs::create_dir_all(run).expect("a folder");
    fs::copy(recorded.join("run.json"), run.join("run.json")).expect("a record");
    let text = fs::read_to_string(recorded.join("episodes.jsonl")).expect("episodes");
    let template: Episode =
        serde_json::from_str(text.lines().next().expect("an episode")).expect("an episode");
    let file = run.join("episodes.jsonl");
    let mut out = BufWriter::new(File::create(&file).expect("a file"));
    for at in 0..count {
        let episode = episode(&template, at, bytes);
        serde_json::to_writer(&mut out, &episode).expect("a line");
        out.write_all(b"\n").expect("a line");
    }
    out.flush().expect("a file");
    fs::metadata(&file).expect("a file").len()
}

fn episode(template: &Episode, at: usize, bytes: usize) -> Episode {
    let mut episode = template.clone();
    episode.task.id = format!("{} {at}", template.task.id);
    let turns = 1 + at % TURNS;
    let last = template.turns.last().expect("a turn");
    let failed = || {
        let mut turn = last.clone();
        turn.observation.outcome = [Outcome::Failed, Outcome::TimedOut][at % 2];
        turn
    };
    episode.turns = (1..turns).map(|_| failed()).chain([last.clone()]).collect();
    if turns == TURNS {
        episode.end = End::BudgetSpent { limit: Limit::Turns };
        (episode.patch, episode.verdict) = (None, None);
        episode.turns[turns - 1] = failed();
    }
    let length = serde_json::to_string(&episode).expect("a line").len();
    let more = "Words of a test.\n".repeat(bytes.saturating_sub(length) / 18);
    episode.turns[turns - 1].observation.text += &more;
    episode
}
