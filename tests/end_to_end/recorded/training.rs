//! `tests/fixtures/recorded/student`: a training stopped by Ctrl-C after its first epoch.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{fixture, keep, restored};
use crate::fixfly;
use crate::training::here::{Stage, wait};

/// The flags in the words of the version that recorded it.
const THEN: [&str; 10] =
    ["--epochs", "8", "--lr", "0.01", "--warmup", "2", "--accumulation", "4", "--rank", "2"];
const NOW: [&str; 10] = [
    "--epochs",
    "8",
    "--lr",
    "0.01",
    "--warmup-steps",
    "2",
    "--gradient-accumulation-steps",
    "4",
    "--rank",
    "2",
];

fn words<'a>(stage: &'a Stage, flags: &[&'a str], output: &'a str) -> Vec<&'a str> {
    let places = ["train", "lora", "--base", &stage.base, "--dataset", &stage.dataset];
    [&places[..], &["-o", output], flags].concat()
}

fn record(program: &str, stage: &Stage) {
    let output = stage.path("student");
    let mut command = Command::new(program);
    command.args(words(stage, &THEN, &output)).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let checkpoint = Path::new(&output).join("checkpoints/step-000003");
    wait(&mut child, || checkpoint.is_dir());
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let all = walk(Path::new(&output));
    let names: Vec<&str> = all.iter().map(String::as_str).collect();
    keep(Path::new(&output), &fixture("student"), &stage.path(""), &names);
}

/// The files of a folder, by their paths in it.
fn walk(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            true => found.extend(walk(&path).into_iter().map(|inner| format!("{name}/{inner}"))),
            false => found.push(name),
        }
    }
    found
}

#[test]
fn a_stopped_training_is_continued() {
    let stage = Stage::new();
    if let Ok(program) = std::env::var("FIXFLY_RECORD") {
        record(&program, &stage);
    }
    let student = stage.path("continued");
    restored(&fixture("student"), Path::new(&student), &stage.path(""));
    let log = |student: &str| fs::read_to_string(Path::new(student).join("log.jsonl")).unwrap();
    let before = log(&student);

    let output = fixfly(&words(&stage, &NOW, &student));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.contains("resuming after step"), "{stderr}");
    let after = log(&student);
    assert!(after.starts_with(&before), "what was recorded changed");
    let steps = after.lines().filter(|line| line.contains("\"kind\":\"step\"")).count();
    assert_eq!(steps, 24, "{after}");
}
