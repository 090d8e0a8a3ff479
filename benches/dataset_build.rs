//! What `fixfly dataset build` costs for as many rows as the thesis' v5 has, in
//! time and in memory, against the same job in Python with `datasets`.
//!
//! ```text
//! fixfly run django --policy retrieval --split train --limit 300 -o RUN
//! cargo bench --bench dataset_build -- --run RUN [--rows 14051] [--python PYTHON]
//! ```
//!
//! Rows are made of the episodes of that run that solve their task, as often as
//! it takes, each time in other words, so that none is a duplicate.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Took, flag, took};
use fixfly_runtime::{Episode, Outcome, read_episodes};
use serde_json::Value;
use sha2::{Digest, Sha256};

const RECIPE: &str = "about = 'What was solved.'\nloss = 'all'\n\
    [[teachers]]\nname = 'any'\nmodels = ['*']\ntake = ['repaired', 'at-once']\n\
    [leaks]\nanswers = 'keep'\n";

fn main() {
    let run: PathBuf = flag("--run", PathBuf::new());
    let rows: usize = flag("--rows", 14_051);
    let python: PathBuf = flag("--python", PathBuf::new());
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("recipe.toml"), RECIPE).expect("a recipe");
    let solved: Vec<Episode> = read_episodes(&run)
        .expect("--run names a recorded run")
        .into_iter()
        .filter(|episode| episode.solved_at().is_some_and(|turn| kept(episode, turn)))
        .collect();
    assert!(!solved.is_empty(), "the run solves nothing");
    println!("{} different solved episodes, repeated as needed", solved.len());
    let mut ours = None;
    for rows in [rows / 4, rows] {
        let (made, bytes) = multiplied(&run, &solved, rows, folder.path());
        let out = folder.path().join(format!("fixfly-{rows}"));
        let took = fixfly(folder.path(), &made, &out);
        let lines = conversations(&out.join("sharegpt/train.jsonl")).len();
        print_row("fixfly", rows, lines, bytes, &took);
        ours = Some((made, out, took));
    }
    let Some((made, out, took)) = ours else { return };
    if python.as_os_str().is_empty() {
        return println!("no --python with `datasets`: nothing to compare with");
    }
    let theirs = folder.path().join("theirs.jsonl");
    let peer = peer(&python, &made, &theirs);
    let (same, other) = (conversations(&out.join("sharegpt/train.jsonl")), conversations(&theirs));
    print_row("datasets", rows, other.len(), 0, &peer);
    assert!(same == other, "they do not make the same conversations");
    println!("the same conversations; datasets / fixfly: {:.1}x", peer.seconds / took.seconds);
}

fn print_row(name: &str, rows: usize, lines: usize, bytes: u64, took: &Took) {
    let Took { seconds, memory } = took;
    let read = bytes as f64 / (1 << 20) as f64;
    println!(
        "{name:10} {rows:>6} episodes, {read:>6.0} MiB read, {lines:>6} rows: {seconds:>6.2} s, {memory:>5.0} MiB resident"
    );
}

/// Solved at once, or after an attempt that failed.
fn kept(episode: &Episode, turn: usize) -> bool {
    turn == 1 || episode.turns.iter().any(|turn| turn.observation.outcome == Outcome::Failed)
}

/// A run of so many episodes.
fn multiplied(run: &Path, solved: &[Episode], rows: usize, folder: &Path) -> (PathBuf, u64) {
    let made = folder.join(format!("run-{rows}"));
    fs::create_dir_all(&made).expect("a folder");
    fs::copy(run.join("run.json"), made.join("run.json")).expect("a record");
    let file = made.join("episodes.jsonl");
    let mut out = BufWriter::new(File::create(&file).expect("a file"));
    for (at, episode) in solved.iter().cycle().take(rows).enumerate() {
        let mut episode = episode.clone();
        let time = at / solved.len();
        episode.provenance.sample = u32::try_from(time).expect("a sample");
        for turn in &mut episode.turns {
            turn.action.text = format!("Try {time}.\n{}", turn.action.text);
        }
        serde_json::to_writer(&mut out, &episode).expect("a line");
        out.write_all(b"\n").expect("a line");
    }
    out.flush().expect("a file");
    drop(out);
    (made, fs::metadata(&file).expect("a file").len())
}

fn fixfly(folder: &Path, run: &Path, out: &Path) -> Took {
    let recipe = folder.join("recipe.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fixfly"));
    command.args(["dataset", "build", "--recipe"]).arg(recipe).arg(run).arg("-o").arg(out);
    took(&mut command)
}

fn peer(python: &Path, run: &Path, out: &Path) -> Took {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let processes = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = Command::new(python);
    command.arg(root.join("benches/common/dataset_peer.py")).arg(run.join("episodes.jsonl"));
    command.arg(root.join("runtime/prompts")).arg(out).arg(processes.to_string());
    took(command.env("HF_HUB_OFFLINE", "1").stderr(Stdio::null()))
}

/// A hash of each conversation of a ShareGPT file.
fn conversations(file: &Path) -> BTreeSet<Vec<u8>> {
    let lines = BufReader::new(File::open(file).expect("a file")).lines();
    let hash = |line: std::io::Result<String>| {
        let row: Value = serde_json::from_str(&line.expect("a line")).expect("a row");
        let prompt = serde_json::json!([row["system"], row["conversations"]]);
        Sha256::digest(prompt.to_string()).to_vec()
    };
    lines.map(hash).collect()
}
