//! `tests/fixtures/recorded/taught`: a run on the train split, and the dataset built from it.

use std::path::Path;
use std::process::Command;

use fixfly_datasets::Dataset;

use super::{fixture, keep, restored};
use crate::datasets::{Bench, read};
use crate::printed;

fn record(program: &str, bench: &Bench) {
    let (folder, run, built) = (bench.word(""), bench.word("run"), bench.word("dataset"));
    let run_it = ["run", "python", "--benchmark-dir", &folder, "--policy", "null", "--turns", "2"];
    let recipe = bench.word("mine.toml");
    let words = ["--split", "train", "--allow-weak", "-o", &run];
    let build = ["dataset", "build", "--recipe", &recipe, &run, "-o", &built];
    for words in [[&run_it[..], &words].concat(), build.to_vec()] {
        assert!(Command::new(program).args(words).status().unwrap().success());
    }
    keep(&bench.path("run"), &fixture("taught/run"), &folder, &["run.json", "episodes.jsonl"]);
    keep(
        &bench.path("dataset"),
        &fixture("taught/dataset"),
        &folder,
        &["rows.jsonl", "dataset.json"],
    );
}

#[test]
fn a_dataset_is_read_and_built_again_from_its_run() {
    let bench = Bench::new();
    if let Ok(program) = std::env::var("FIXFLY_RECORD") {
        record(&program, &bench);
    }
    restored(&fixture("taught"), &bench.path(""), &bench.word(""));
    let (run, dataset) = (bench.word("run"), bench.word("dataset"));

    let rows: Vec<_> =
        Dataset::open(Path::new(&dataset)).unwrap().rows().unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 1);
    let shown = printed(&["dataset", "show", &dataset]);
    assert!(shown.contains("return sum(self.items.values())"), "{shown}");

    // The run keeps the prompts that it was recorded with, so its rows are the same.
    let again = bench.word("again");
    printed(&bench.build(&run, &again, &bench.word("mine.toml")));
    let built: Vec<_> =
        Dataset::open(Path::new(&again)).unwrap().rows().unwrap().map(Result::unwrap).collect();
    assert_eq!(built, rows);
    assert_eq!(read(&again, "rows.jsonl"), read(&dataset, "rows.jsonl"));
}
