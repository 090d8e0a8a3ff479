//! Files of a run that are damaged while no process has them open.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use super::chance::Chance;
use super::stage::{Kind, Stage};
use super::table::{long, row};

/// What happens to a file.
#[derive(Clone, Copy)]
enum Fault {
    /// One byte of any line is another one.
    Byte,
    /// The end is missing, up to the whole last line.
    Cut,
}

impl Fault {
    fn happens(self, file: &Path, chance: &mut Chance) {
        let mut bytes = fs::read(file).unwrap();
        let mut random = |limit: usize| chance.below(limit as u64) as usize;
        match self {
            Fault::Byte => {
                let at = random(bytes.len());
                bytes[at] ^= 1 + random(255) as u8;
                eprintln!("byte {at} of {} is {}", file.display(), bytes[at]);
            }
            Fault::Cut => {
                let rest = &bytes[..bytes.len() - 1];
                let last = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let length = last + random(bytes.len() - last);
                bytes.truncate(length);
                eprintln!("{} ends at {length}, its last line begins at {last}", file.display());
            }
        }
        fs::write(file, bytes).unwrap();
    }
}

/// A run with half of its episodes, and its copy.
struct Half {
    stage: Stage,
    copy: PathBuf,
    /// The record of a run by the same command.
    record: Vec<u8>,
}

impl Half {
    fn new() -> Half {
        let mut stage = Stage::new(Kind::Paid, []);
        let mut child = stage.start("run");
        while stage.episodes("run").0.len() < 6 {
            assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
            sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let mut child = stage.start("other");
        let record = stage.path("other/run.json");
        while !record.exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
            sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let copy = stage.path("half");
        let half = Half { copy, record: fs::read(record).unwrap(), stage };
        copied(&half.stage.path("run"), &half.copy);
        half
    }

    fn restore(&self) {
        let run = self.stage.path("run");
        fs::remove_dir_all(&run).unwrap();
        // The same path: the journal has it, and another run's calls cost nothing.
        copied(&self.copy, &run);
    }
}

/// With the times of change, which the index compares.
fn copied(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// Does what the sentence of a refusal asks for.
#[track_caller]
fn remedy(stage: &Stage, record: &[u8], errors: &str) {
    let error = errors.lines().rfind(|line| line.starts_with("error: ")).unwrap();
    let run = stage.path("run");
    let line =
        |line: &str| line.split(|letter: char| !letter.is_ascii_digit()).next().map(str::to_owned);
    if let Some((_, rest)) = error.split_once("episodes.jsonl:") {
        assert!(error.ends_with("fix or remove it"), "{error}");
        let number: usize = line(rest).unwrap().parse().unwrap();
        let file = run.join("episodes.jsonl");
        let bytes = fs::read(&file).unwrap();
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate();
        let lines = lines.filter(|(at, _)| at + 1 != number).flat_map(|(_, line)| line.to_vec());
        fs::write(&file, lines.collect::<Vec<u8>>()).unwrap();
    } else {
        let is_about_record = ["run.json is ", "run.json was ", "a run with other settings"];
        assert!(is_about_record.iter().any(|part| error.contains(part)), "{error}");
        fs::write(run.join("run.json"), record).unwrap();
    }
}

#[track_caller]
fn check(place: u32, file: &str) {
    let mut chance = Chance::new();
    let mut half = Half::new();
    let undisturbed = half.stage.undisturbed();
    let count = long().map_or(1, |kills| (kills / 5).max(1));
    let mut counts = Vec::new();
    for (fault, what) in [(Fault::Byte, "a byte changed"), (Fault::Cut, "the end cut off")] {
        for _ in 0..count {
            half.restore();
            fault.happens(&half.stage.path("run").join(file), &mut chance);
            let record = half.record.clone();
            half.stage.finish("run", |stage, errors| remedy(stage, &record, errors));
            half.stage.compare("run", &undisturbed);
        }
        counts.push((what, half.stage.sweep()));
    }
    for ((what, damage), place) in counts.into_iter().zip(place..) {
        row(place, &format!("{what}: `{file}`"), count, damage);
    }
}

#[test]
fn damaged_episodes_are_named_or_made_again() {
    check(20, "episodes.jsonl");
}

#[test]
fn a_damaged_index_is_made_anew() {
    check(22, "episodes.index.jsonl");
}

#[test]
fn a_damaged_journal_pays_at_most_for_what_is_damaged() {
    check(24, "journal/calls.jsonl");
}

#[test]
fn a_damaged_record_is_named() {
    check(26, "run.json");
}
