//! Runs whose episodes are zstd frames.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use fixfly_runtime::{Episode, read_episodes, read_run};

use crate::project::benchmark;
use crate::recorded::{fixture, restored};
use crate::runs::{Bench, ended_well, lines, wait_for_lines};
use crate::shards::timeless;
use crate::{fixfly, printed, refused};

/// How a skippable frame begins, which is before each frame of lines.
const HEADER: [u8; 4] = 0x184D_2A5E_u32.to_le_bytes();

fn plain(run: &Path) -> PathBuf {
    run.join("episodes.jsonl")
}

fn packed(run: &Path) -> PathBuf {
    run.join("episodes.jsonl.zst")
}

/// What `zstdcat` prints.
fn decompressed(run: &Path) -> String {
    let mut text = String::new();
    zstd::Decoder::new(File::open(packed(run)).unwrap())
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

const WORDS: [&str; 6] = ["--policy", "oracle", "--samples", "2", "--jobs", "1"];

#[test]
fn a_compressed_run_killed_at_any_time_goes_on_and_gives_the_same_episodes() {
    let bench = Bench::new(0.3);
    let run = bench.runs.path().join("slow");
    let words = [&WORDS[..], &["--compress"]].concat();
    let start = || -> Child {
        let mut command = bench.run("slow", &words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // First with a plain file alone, then with frames before it.
    for _ in 0..2 {
        let mut child = start();
        wait_for_lines(&plain(&run), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        printed(&["compress", run.to_str().unwrap()]);
        assert_eq!(lines(&plain(&run)), 0);
    }
    let before = decompressed(&run);
    let output = start().wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("slow/episodes.jsonl.zst"), "{errors}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("6 episodes on 3 tasks"));

    let text = decompressed(&run);
    assert!(text.starts_with(&before), "nothing is made twice");
    assert_eq!((text.lines().count(), lines(&plain(&run))), (6, 0));
    assert_eq!(read_run(&run).unwrap().schema, 3);
    ended_well(bench.run("whole", &WORDS));
    assert_eq!(timeless(&run), timeless(&bench.runs.path().join("whole")), "as an undisturbed run");

    let line = printed(&["compress", "--decompress", run.to_str().unwrap()]);
    assert!(line.contains(": 6 episodes in "), "{line}");
    assert_eq!(fs::read_to_string(plain(&run)).unwrap(), text);
    assert!(!packed(&run).exists());
    assert_eq!(read_run(&run).unwrap().schema, 1);
}

#[test]
fn a_recorded_run_is_read_replayed_and_continued_when_it_is_compressed() {
    let (benchmark, folder) = (benchmark(0.0), tempfile::tempdir().unwrap());
    let benchmark = benchmark.path().to_str().unwrap();
    let run = folder.path().join("run");
    restored(&fixture("run"), &run, benchmark);
    let before = fs::read_to_string(plain(&run)).unwrap();
    let task = read_episodes(&run).unwrap()[0].task.id.clone();
    let name = run.to_str().unwrap();
    let reads: [&[&str]; 4] = [
        &["report", name],
        &["report", name, "--format", "json", "--table", "all"],
        &["show", name],
        &["show", name, &task],
    ];
    let expected = reads.map(printed);
    let line = printed(&["compress", name]);
    assert!(line.starts_with(&format!("{name}: 4 episodes in ")), "{line}");
    assert!(line.contains(" uncompressed"), "{line}");
    assert_eq!((decompressed(&run), lines(&plain(&run))), (before.clone(), 0));
    assert_eq!(reads.map(printed), expected);

    let again = folder.path().join("again");
    let run_python = ["run", "python", "--benchmark-dir", benchmark, "--allow-weak", "-o"];
    let replay = [again.to_str().unwrap(), "--policy", "replay", "--replay", name];
    printed(&[&run_python[..], &replay].concat());
    assert!(read_episodes(&again).unwrap().iter().all(Episode::solved));
    printed(&[&run_python[..], &[name], &WORDS].concat());
    let after = decompressed(&run);
    assert!(after.starts_with(&before), "what was recorded changed");
    assert_eq!((after.lines().count(), lines(&plain(&run))), (6, 0), "it goes on compressed");
}

#[test]
fn frames_have_256_episodes() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    restored(&fixture("run"), &run, "/b");
    let episode = read_episodes(&run).unwrap().remove(0);
    let line = |sample: u32| {
        let mut episode = episode.clone();
        episode.provenance.sample = sample;
        serde_json::to_string(&episode).unwrap() + "\n"
    };
    let text: String = (0..513).map(line).collect();
    fs::write(plain(&run), &text).unwrap();
    printed(&["compress", run.to_str().unwrap()]);
    let bytes = fs::read(packed(&run)).unwrap();
    let headers = bytes.windows(HEADER.len()).filter(|window| *window == HEADER).count();
    assert_eq!(headers, 3);
    assert_eq!(decompressed(&run), text);
    // The text that all have in common is in each frame once.
    assert!(bytes.len() * 50 < text.len(), "{} bytes", bytes.len());
}

#[test]
fn a_damaged_frame_is_named_with_its_remedy_and_the_remedy_works() {
    let (benchmark, folder) = (benchmark(0.0), tempfile::tempdir().unwrap());
    let benchmark = benchmark.path().to_str().unwrap();
    let run = folder.path().join("run");
    restored(&fixture("run"), &run, benchmark);
    let name = run.to_str().unwrap();
    printed(&["compress", name]);
    let mut bytes = fs::read(packed(&run)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(packed(&run), bytes).unwrap();
    let words = [&["run", "python", "--benchmark-dir", benchmark, "-o", name][..], &WORDS].concat();
    for words in [&["report", name][..], &["compress", name, "--decompress"], &words[..]] {
        let output = fixfly(words);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        let error = errors.lines().last().unwrap().replace(name, "RUN");
        let start =
            "error: RUN/episodes.jsonl.zst: frame 1 (4 episodes, lines 1 to 4) is damaged (";
        assert!(error.starts_with(start), "{error}");
        assert!(error.contains("run `fixfly compress RUN --set-aside`"), "{error}");
    }
    let line = printed(&["compress", name, "--set-aside"]);
    assert!(line.contains("damaged frames: 1, moved to "), "{line}");
    assert!(run.join("episodes.torn-1.jsonl.zst").exists());
    assert!(printed(&words).contains("6 episodes on 3 tasks"), "they run again");
    let line = printed(&["compress", name, "--set-aside"]);
    assert_eq!(line, format!("{name}: all frames can be read\n"));
}

#[test]
fn what_cannot_be_compressed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().to_str().unwrap();
    let (code, error) = refused(&["compress", name]);
    assert_eq!((code, error.starts_with("there is no run in ")), (1, true), "{error}");
    let (code, error) = refused(&["compress", name, "--decompress", "--set-aside"]);
    assert_eq!((code, error.contains("cannot be used with")), (2, true), "{error}");
}
