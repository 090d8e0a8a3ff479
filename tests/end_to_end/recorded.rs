//! What an earlier version recorded is still read, and continued.
//!
//! `tests/fixtures/recorded/run` was written by version 0.1.0 at 023e893, and
//! holds four of its six episodes, as if it had been killed. Set
//! `FIXFLY_RECORD=PROGRAM` to have that program record it anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixfly_runtime::read_episodes;

use crate::printed;
use crate::project::benchmark;

/// Stands in the recorded files for the benchmark's folder.
const BENCHMARK: &str = "@BENCHMARK@";
const WORDS: &[&str] = &["--policy", "oracle", "--samples", "2", "--jobs", "1", "--allow-weak"];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded/run")
}

fn words<'a>(benchmark: &'a str, run: &'a str) -> Vec<&'a str> {
    let words = ["run", "python", "--benchmark-dir", benchmark, "-o", run];
    words.into_iter().chain(WORDS.iter().copied()).collect()
}

fn record(program: &str, benchmark: &str, run: &Path) {
    let status =
        Command::new(program).args(words(benchmark, run.to_str().unwrap())).status().unwrap();
    assert!(status.success());
    fs::create_dir_all(fixture()).unwrap();
    for name in ["run.json", "episodes.jsonl"] {
        let text = fs::read_to_string(run.join(name)).unwrap().replace(benchmark, BENCHMARK);
        let lines: Vec<&str> = text.lines().collect();
        let kept = if name == "run.json" { lines.len() } else { 4 };
        fs::write(fixture().join(name), lines[..kept].join("\n") + "\n").unwrap();
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
    fs::create_dir(&run).unwrap();
    for name in ["run.json", "episodes.jsonl"] {
        let text = fs::read_to_string(fixture().join(name)).unwrap();
        fs::write(run.join(name), text.replace(BENCHMARK, benchmark)).unwrap();
    }
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
