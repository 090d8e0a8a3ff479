//! What an earlier version recorded is still read, and continued.
//!
//! `tests/fixtures/recorded` was written by version 0.1.0 at 023e893; `run` holds
//! four of its six episodes, as if it had been killed. Set `FIXFLY_RECORD=PROGRAM` to
//! have that program record everything anew.

mod dataset;
#[cfg(feature = "train")]
mod training;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixfly_runtime::read_episodes;

use crate::printed;
use crate::project::benchmark;

/// Stands in the recorded files for the folder of the benchmark, or of the model.
const BENCHMARK: &str = "@BENCHMARK@";
const WORDS: &[&str] = &["--policy", "oracle", "--samples", "2", "--jobs", "1", "--allow-weak"];

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded").join(name)
}

/// Copies files of a folder to a fixture, without the name of the folder they were made in.
fn keep(from: &Path, to: &Path, place: &str, names: &[&str]) {
    for name in names {
        let bytes = fs::read(from.join(name)).unwrap();
        let bytes = match String::from_utf8(bytes) {
            Ok(text) => text.replace(place, BENCHMARK).into_bytes(),
            Err(binary) => binary.into_bytes(),
        };
        fs::create_dir_all(to.join(name).parent().unwrap()).unwrap();
        fs::write(to.join(name), bytes).unwrap();
    }
}

/// Copies a fixture, with the name of the folder that its files speak of.
pub(crate) fn restored(fixture: &Path, to: &Path, place: &str) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match (path.is_dir(), fs::read(&path).map(String::from_utf8)) {
            (true, _) => restored(&path, &to, place),
            (_, Ok(Ok(text))) => fs::write(to, text.replace(BENCHMARK, place)).unwrap(),
            (_, bytes) => fs::write(to, bytes.unwrap().unwrap_err().into_bytes()).unwrap(),
        }
    }
}

fn words<'a>(benchmark: &'a str, run: &'a str) -> Vec<&'a str> {
    let words = ["run", "python", "--benchmark-dir", benchmark, "-o", run];
    words.into_iter().chain(WORDS.iter().copied()).collect()
}

fn record(program: &str, benchmark: &str, run: &Path) {
    let status =
        Command::new(program).args(words(benchmark, run.to_str().unwrap())).status().unwrap();
    assert!(status.success());
    let kept = fixture("run");
    fs::create_dir_all(&kept).unwrap();
    for name in ["run.json", "episodes.jsonl"] {
        let text = fs::read_to_string(run.join(name)).unwrap().replace(benchmark, BENCHMARK);
        let lines: Vec<&str> = text.lines().collect();
        let count = if name == "run.json" { lines.len() } else { 4 };
        fs::write(kept.join(name), lines[..count].join("\n") + "\n").unwrap();
    }
}

#[test]
fn a_run_is_reported_replayed_and_continued() {
    let (benchmark, folder) = (benchmark(0.0), tempfile::tempdir().unwrap());
    let benchmark = benchmark.path().to_str().unwrap();
    if let Ok(program) = std::env::var("FIXFLY_RECORD") {
        record(&program, benchmark, &folder.path().join("recorded"));
    }
    let run = folder.path().join("run");
    restored(&fixture("run"), &run, benchmark);
    let before = fs::read_to_string(run.join("episodes.jsonl")).unwrap();
    let run = run.to_str().unwrap();

    assert!(printed(&["report", run]).contains("4 episodes on 3 tasks of python (benchmark)"));
    let again = folder.path().join("again");
    let replay = ["run", "python", "--benchmark-dir", benchmark, "--policy", "replay", "--replay"];
    printed(&[&replay[..], &[run, "--allow-weak", "-o", again.to_str().unwrap()]].concat());
    assert!(read_episodes(&again).unwrap().iter().all(|episode| episode.solved()));

    printed(&words(benchmark, run));
    let after = fs::read_to_string(Path::new(run).join("episodes.jsonl")).unwrap();
    assert!(after.starts_with(&before), "what was recorded changed");
    let episodes = read_episodes(Path::new(run)).unwrap();
    assert_eq!(episodes.len(), 6);
    assert!(episodes.iter().all(|episode| episode.solved() && episode.patch.is_some()));
    // Then a turn recorded its candidate as a diff, now it records the method.
    for (at, episode) in episodes.iter().enumerate() {
        let seen = &episode.turns[0].observation;
        assert_eq!((seen.patch.is_some(), seen.candidate.is_some()), (at < 4, at >= 4), "{at}");
        assert!(seen.submission().is_some());
    }
}
