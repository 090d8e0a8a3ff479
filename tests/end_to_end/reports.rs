use std::fs;
use std::path::Path;

use fixfly_runtime::{Machine, RunDirectory, RunRecord, SCHEMA, Wording};
use tempfile::TempDir;

use crate::{printed, refused};

/// A run without episodes.
pub(crate) fn run() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let record = RunRecord {
        schema: SCHEMA,
        fixfly: "0.1.0".into(),
        started: "2026-01-01T00:00:00Z".into(),
        config: [("policy".to_string(), "null".into())].into(),
        seed: 0,
        benchmark: Default::default(),
        templates: Wording::default(),
        isolation: String::new(),
        machine: Machine::default(),
    };
    RunDirectory::open(folder.path(), &record).unwrap();
    folder
}

#[track_caller]
fn check(spoil: impl Fn(&Path), expected: &str) {
    let folder = run();
    spoil(folder.path());
    let path = folder.path().to_str().unwrap();
    let (code, said) = refused(&["report", path]);
    assert_eq!((code, said.replace(path, "RUN").as_str()), (1, expected));
}

#[test]
fn a_run_that_cannot_be_read_is_named_with_its_mend() {
    check(
        |run| fs::remove_file(run.join("run.json")).unwrap(),
        "there is no run in RUN: it has no run.json; name a folder that `fixfly run -o` wrote",
    );
    check(
        |run| fs::write(run.join("run.json"), "{").unwrap(),
        "RUN/run.json is not JSON: EOF while parsing an object at line 1 column 1; \
         mend or remove it",
    );
    check(
        |run| fs::write(run.join("run.json"), "{\"schema\": 7}").unwrap(),
        "RUN/run.json was written by a newer fixfly (schema 7, this one reads up to 1); \
         update fixfly to read it",
    );
    check(
        |run| fs::write(run.join("episodes.jsonl"), "{\"schema\": 1}\n{}\n").unwrap(),
        "RUN/episodes.jsonl:1 is not an episode: missing field `task`; mend or remove it",
    );
}

#[test]
fn every_format_of_an_empty_run() {
    let folder = run();
    let path = folder.path().to_str().unwrap();
    assert!(printed(&["report", path]).contains("0 episodes on 0 tasks"));
    assert!(printed(&["report", path, "--format", "markdown"]).starts_with("## "));
    assert!(printed(&["report", path, "--format", "csv"]).starts_with("run,table,row,column,"));
    let json: serde_json::Value =
        serde_json::from_str(&printed(&["report", path, path, "--format", "json"])).unwrap();
    assert_eq!(json["runs"].as_array().unwrap().len(), 2);
}
