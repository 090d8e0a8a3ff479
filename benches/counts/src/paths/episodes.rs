//! Episodes written to a run directory and read from it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fixfly_runtime::{
    Episode, Machine, Recording, RunDirectory, RunRecord, SCHEMA, TaskKind, Templates, Wording,
};

use crate::scripted::{Script, episode};

/// Episodes of a run.
pub(super) const EPISODES: u32 = 24;

pub(crate) fn record(folder: &Path, rounds: u64) {
    let mut episode = episode(5, 0, Script::SolvesLast);
    let (mut directory, _) = RunDirectory::open(folder, &run_record()).expect("a run directory");
    for sample in (0..).take(usize::try_from(rounds).expect("few rounds")) {
        episode.provenance.sample = sample;
        directory.append(&episode).expect("a line");
    }
}

pub(crate) fn index(folder: &Path, rounds: u64) {
    recorded(folder);
    for _ in 0..rounds {
        // The first one is as the run left it.
        let _ = fs::remove_file(folder.join("episodes.index.jsonl"));
        assert_eq!(opened(folder).len(), EPISODES as usize);
    }
}

pub(crate) fn read(folder: &Path, rounds: u64) {
    recorded(folder);
    for _ in 0..rounds {
        let recording = opened(folder);
        for at in 0..recording.len() {
            assert_eq!(recording.episode(at).expect("an episode").turns.len(), 5);
        }
    }
}

pub(super) fn opened(folder: &Path) -> Recording {
    Recording::open(folder).expect("a run")
}

/// Records a run of different episodes.
pub(super) fn recorded(folder: &Path) {
    let (mut directory, _) = RunDirectory::open(folder, &run_record()).expect("a run directory");
    let all = (0..EPISODES).map(|sample| episode(5, sample, Script::SolvesLast));
    for episode in all {
        assert!(Episode::solved(&episode), "{:?}", episode.end);
        directory.append(&episode).expect("a line");
    }
}

pub(super) fn run_record() -> RunRecord {
    let templates = Templates::load(TaskKind::Method, None).expect("the built-in prompts");
    let config = [("benchmark", "none"), ("policy", "scripted"), ("split", "benchmark")];
    RunRecord {
        schema: SCHEMA,
        fixfly: String::new(),
        started: "2026-01-01T00:00:00Z".into(),
        config: config.map(|(key, value)| (key.to_owned(), value.into())).into(),
        seed: 0,
        benchmark: BTreeMap::new(),
        templates: Wording { hash: templates.hash.clone(), texts: templates.texts() },
        isolation: "none".into(),
        machine: Machine::default(),
        tasks: None,
        merged: Vec::new(),
    }
}
