use std::collections::BTreeMap;

use tempfile::TempDir;

use super::super::tests::{episode, infrastructure, record};
use super::super::{Recording, TaskCounts, read_episodes};
use super::*;
use crate::episode::{End, Episode};

/// A folder for runs.
struct Runs(TempDir);

/// The record of a shard of a run of six tasks, or of the whole run.
fn shard(index: Option<u32>) -> RunRecord {
    let mut record = record();
    record.config.insert("samples".into(), 1.into());
    record.tasks = Some(TaskCounts { selected: 6, shard: index.map(|_| 2) });
    if let Some(index) = index {
        record.config.insert("shard".into(), format!("{index}/3").into());
        record.started = format!("2026-01-0{index}T00:00:00Z");
        record.machine.cpus = index as usize;
    }
    record
}

fn finished(task: &str) -> Episode {
    episode(task, 0, End::Submitted)
}

fn later(mut episode: Episode) -> Episode {
    episode.provenance.started = "2026-02-02T00:00:00Z".into();
    episode
}

impl Runs {
    fn new() -> Self {
        Runs(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, record: &RunRecord, episodes: &[Episode]) {
        let (mut run, _) = RunDirectory::open(&self.path(name), record).unwrap();
        episodes.iter().for_each(|episode| run.append(episode).unwrap());
    }

    /// Three shards of two tasks each.
    fn three() -> Self {
        let runs = Runs::new();
        for (index, tasks) in [(1, ["a", "d"]), (2, ["b", "e"]), (3, ["c", "f"])] {
            runs.write(&format!("s{index}"), &shard(Some(index)), &tasks.map(finished));
        }
        runs
    }

    fn merge(&self, names: &[&str], output: &str) -> Result<MergeSummary, RunError> {
        let runs: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
        merge_runs(&runs, &self.path(output), join_journals)
    }

    #[track_caller]
    fn refused(&self, names: &[&str], output: &str) -> String {
        let error = self.merge(names, output).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        error.replace(&format!("{}/", self.0.path().display()), "")
    }

    fn tasks(&self, name: &str) -> Vec<String> {
        let episodes = read_episodes(&self.path(name)).unwrap();
        episodes.into_iter().map(|episode| episode.task.id).collect()
    }

    /// All files but the index, which has times of files, and the lock.
    fn files(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        fn walk(folder: &Path, top: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, top, files);
                } else if !path.ends_with(INDEX) && !path.ends_with(LOCK) {
                    let name = path.strip_prefix(top).unwrap().to_path_buf();
                    files.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        let mut files = BTreeMap::new();
        walk(&self.path(name), &self.path(name), &mut files);
        files
    }
}

fn join_journals(folders: &[PathBuf], to: &Path) -> Result<(), String> {
    let texts =
        folders.iter().map(|folder| fs::read_to_string(folder.join("calls.jsonl")).unwrap());
    fs::write(to.join("calls.jsonl"), texts.collect::<String>()).unwrap();
    Ok(())
}

#[test]
fn shards_become_the_undivided_run_and_it_can_go_on() {
    let runs = Runs::three();
    let summary = runs.merge(&["s1", "s2", "s3"], "all").unwrap();
    let text = summary.to_string().replace(&format!("{}/", runs.0.path().display()), "");
    assert_eq!(text, "all: 6 episodes of 3 runs, 3 of 3 shards\n");
    assert_eq!(runs.tasks("all"), ["a", "d", "b", "e", "c", "f"]);
    let merged = read_run(&runs.path("all")).unwrap();
    assert_eq!(merged.differences(&shard(None)), [""; 0]);
    assert_eq!(merged.started, "2026-01-01T00:00:00Z");
    let parts: Vec<_> = merged.merged.iter().map(|run| (run.shard, run.machine.cpus)).collect();
    let parsed = |text: &str| Some(text.parse().unwrap());
    assert_eq!(parts, [(parsed("1/3"), 1), (parsed("2/3"), 2), (parsed("3/3"), 3)]);
    let (_, recorded) = RunDirectory::open(&runs.path("all"), &shard(None)).unwrap();
    assert_eq!(recorded.len(), 6);
    let index = runs.path("all").join(INDEX);
    assert!(fs::read_to_string(index).unwrap().lines().count() > 6, "there is an index");
}

#[test]
fn the_order_of_the_runs_does_not_matter() {
    let runs = Runs::three();
    fs::create_dir(runs.path("s2/journal")).unwrap();
    fs::create_dir(runs.path("s1/journal")).unwrap();
    fs::write(runs.path("s2/journal/calls.jsonl"), "two\n").unwrap();
    fs::write(runs.path("s1/journal/calls.jsonl"), "one\n").unwrap();
    runs.merge(&["s1", "s2", "s3"], "one").unwrap();
    runs.merge(&["s3", "s1", "s2", "s1"], "other").unwrap();
    assert_eq!(runs.files("one"), runs.files("other"));
    assert_eq!(runs.files("one")[Path::new("journal/calls.jsonl")], b"one\ntwo\n");
}

#[test]
fn a_missing_shard_is_named_and_comes_later() {
    let runs = Runs::three();
    let summary = runs.merge(&["s3", "s1"], "part").unwrap();
    let text = summary.to_string().replace(&format!("{}/", runs.0.path().display()), "");
    assert_eq!(
        text,
        "part: 4 episodes of 2 runs, 2 of 3 shards, missing: 2\n\
         2 episodes are left: run `fixfly run` with the flags of these runs, without --shard, \
         and -o part\n"
    );
    let summary = runs.merge(&["part", "s2"], "all").unwrap();
    assert_eq!(summary.record.shards(6).unwrap().to_string(), "3 of 3 shards");
    assert_eq!(summary.open_episodes(), Some(0));
    assert_eq!(runs.tasks("all").len(), 6);
    // A run that went on without the shard is whole.
    let (mut run, _) = RunDirectory::open(&runs.path("part"), &shard(None)).unwrap();
    for task in ["b", "e"] {
        run.append(&finished(task)).unwrap();
    }
    let record = read_run(&runs.path("part")).unwrap();
    assert_eq!(record.shards(4).unwrap().missing(), [2]);
    assert_eq!(record.shards(6).unwrap().missing(), [0; 0]);
}

#[test]
fn runs_that_differ_in_more_than_the_shard_are_refused() {
    let runs = Runs::three();
    let change = |name: &str, change: &dyn Fn(&mut RunRecord)| {
        let mut record = shard(Some(2));
        change(&mut record);
        runs.write(name, &record, &[]);
    };
    let mixed = |name: &str, differences: &str| {
        let expected = format!(
            "s1 and {name} cannot be one run: their settings differ ({differences}); name runs \
             that differ in the shard only"
        );
        assert_eq!(runs.refused(&[name, "s1"], "all"), expected);
        assert!(!runs.path("all").exists());
    };
    change("policy", &|record| drop(record.config.insert("policy".into(), "oracle".into())));
    mixed("policy", "policy: \"null\", and \"oracle\"");
    change("seed", &|record| record.seed = 7);
    mixed("seed", "seed: 0, and 7");
    change("turns", &|record| drop(record.config.insert("turns".into(), 9.into())));
    mixed("turns", "turns: not set, and 9");
    change("tasks", &|record| drop(record.benchmark.insert("tasks".into(), 4.into())));
    mixed("tasks", "benchmark tasks: 3, and 4");
    change("wording", &|record| record.templates.hash = "cd".into());
    mixed("wording", "templates: \"ab\", and \"cd\"");
    change("of", &|record| drop(record.config.insert("shard".into(), "2/4".into())));
    mixed("of", "number of shards: 3, and 4");
    change("selected", &|record| {
        record.tasks = Some(TaskCounts { selected: 5, shard: Some(2) });
    });
    mixed("selected", "number of tasks: 6, and 5");
    change("same", &|record| {
        record.config.insert("benchmark_dir".into(), "/scratch/2".into());
        record.isolation = "another".into();
        record.fixfly = "0.0.9".into();
    });
    assert_eq!(runs.merge(&["same", "s1"], "all").unwrap().episodes, 2);
}

#[test]
fn an_episode_that_is_there_twice_must_be_equal() {
    let runs = Runs::three();
    runs.write("again", &shard(Some(2)), &[finished("b"), finished("e")]);
    let summary = runs.merge(&["s1", "s2", "again"], "equal").unwrap();
    assert_eq!((summary.episodes, summary.equal), (4, 2));
    assert!(summary.to_string().contains("left out: 2 episodes that equal another one\n"));

    runs.write("other", &shard(Some(2)), &[later(finished("b"))]);
    assert_eq!(
        runs.refused(&["s1", "s2", "other"], "all"),
        "the episode of b, sample 0, is in other and in s2, and the two differ (provenance); \
         leave one of these runs out"
    );
    assert!(!runs.path("all").exists());
}

#[test]
fn a_finished_episode_replaces_infrastructure_failures() {
    let runs = Runs::new();
    let failed = |task: &str| episode(task, 0, infrastructure());
    let first = [failed("a"), finished("b"), failed("c"), failed("d"), finished("d")];
    runs.write("s1", &shard(Some(1)), &first);
    let mut last = later(failed("c"));
    last.provenance.seconds = 7.0;
    runs.write("s2", &shard(Some(1)), &[finished("a"), failed("b"), last]);
    for names in [["s1", "s2"], ["s2", "s1"]] {
        let summary = runs.merge(&names, names[0].replace('s', "all").as_str()).unwrap();
        assert_eq!((summary.episodes, summary.failures, summary.replaced), (4, 1, 4));
        assert_eq!(summary.open_episodes(), Some(3), "the failure runs again");
    }
    let recording = Recording::open(&runs.path("all1")).unwrap();
    let seconds = recording.summaries().iter().find(|one| &*one.task == "c").unwrap().seconds;
    assert_eq!(seconds, 7.0, "the later failure");
}

#[test]
fn other_files_are_kept() {
    let runs = Runs::three();
    fs::write(runs.path("s1/episodes.torn-1.jsonl"), "{\"ta").unwrap();
    fs::write(runs.path("s1/preds.json"), "{}").unwrap();
    fs::write(runs.path("s1/.aB3.partial"), "half").unwrap();
    fs::create_dir(runs.path("s2/logs")).unwrap();
    fs::write(runs.path("s2/logs/slurm.out"), "a line\n").unwrap();
    symlink("logs/slurm.out", runs.path("s2/last")).unwrap();
    runs.merge(&["s1", "s2"], "part").unwrap();
    let names: Vec<_> = runs.files("part").into_keys().map(|p| p.display().to_string()).collect();
    assert_eq!(
        names,
        [
            "episodes.jsonl",
            "run.json",
            "shard-1/episodes.torn-1.jsonl",
            "shard-2/last",
            "shard-2/logs/slurm.out"
        ]
    );
    runs.merge(&["part", "s3"], "all").unwrap();
    assert!(runs.path("all/run-1/shard-2/logs/slurm.out").exists());
}

#[test]
fn a_run_that_is_in_use_is_not_merged() {
    let runs = Runs::three();
    let (_open, _) = RunDirectory::open(&runs.path("s2"), &shard(Some(2))).unwrap();
    let busy = runs.refused(&["s1", "s2"], "all");
    let process = format!("s2 is in use by another fixfly process (pid {} on ", std::process::id());
    assert!(busy.starts_with(&process), "{busy}");
    assert!(busy.ends_with("); wait until it ends or name another folder"), "{busy}");
    fs::remove_file(runs.path("s1").join(LOCK)).unwrap();
    runs.merge(&["s1", "s3"], "all").unwrap();
}

#[test]
fn the_output_must_be_free() {
    let runs = Runs::three();
    let occupied = "s3 contains a run already; name an empty or a new folder";
    assert_eq!(runs.refused(&["s1", "s2"], "s3"), occupied);
    fs::create_dir(runs.path("mine")).unwrap();
    fs::write(runs.path("mine/notes"), "").unwrap();
    assert!(runs.refused(&["s1", "s2"], "mine").starts_with("mine is not a run directory"));
    assert_eq!(runs.files("mine").len(), 1);
    assert!(runs.refused(&["s1", "none"], "all").starts_with("there is no run in none"));
    assert!(!runs.path("all").exists());
}

/// A merge is killed at each of its steps: after the mark, within the episodes, within the
/// journal, and before its end.
#[test]
fn a_killed_merge_leaves_no_run_and_begins_again() {
    let runs = Runs::three();
    fs::create_dir(runs.path("s1/journal")).unwrap();
    fs::write(runs.path("s1/journal/calls.jsonl"), "one\n").unwrap();
    let names = ["s1", "s2", "s3"];
    runs.merge(&names, "whole").unwrap();
    let expected = runs.files("whole");
    let written: [&[(&str, &str)]; 5] = [
        &[],
        &[("episodes.jsonl", "")],
        &[("episodes.jsonl", "{\"schema\": 1, \"ta")],
        &[("episodes.jsonl", "{}\n"), ("episodes.index.jsonl", "{"), ("journal/calls.jsonl", "o")],
        &[("journal/calls.jsonl", "one\n"), ("shard-1/notes", "a"), (".aB.partial", "{")],
    ];
    for files in written {
        let output = runs.path("killed");
        fs::create_dir(&output).unwrap();
        fs::write(output.join(LOCK), "").unwrap();
        fs::write(output.join(UNFINISHED), "{}").unwrap();
        for (name, text) in files {
            fs::create_dir_all(output.join(name).parent().unwrap()).unwrap();
            fs::write(output.join(name), text).unwrap();
        }
        assert!(matches!(read_run(&output), Err(RunError::NoRun(_))));
        let refused = RunDirectory::open(&output, &shard(None)).unwrap_err();
        assert!(matches!(refused, RunError::UnfinishedMerge(_)), "{refused}");
        // A pattern names the output, too.
        runs.merge(&["killed", "s1", "s2", "s3"], "killed").unwrap();
        assert_eq!(runs.files("killed"), expected);
        fs::remove_dir_all(&output).unwrap();
    }
    let stopped = merge_runs(&names.map(|name| runs.path(name)), &runs.path("killed"), |_, _| {
        Err("the disk is full".into())
    });
    assert_eq!(stopped.unwrap_err().to_string(), "the disk is full");
    assert!(matches!(read_run(&runs.path("killed")), Err(RunError::NoRun(_))));
    runs.merge(&names, "killed").unwrap();
    assert_eq!(runs.files("killed"), expected);
}

#[test]
fn compressed_shards_become_a_compressed_run() {
    let runs = Runs::three();
    runs.merge(&["s1", "s2", "s3"], "plain").unwrap();
    compress_run(&runs.path("s1")).unwrap();
    runs.merge(&["s1", "s2", "s3"], "mixed").unwrap();
    assert_eq!(runs.files("mixed"), runs.files("plain"));
    for name in ["s2", "s3"] {
        compress_run(&runs.path(name)).unwrap();
    }
    runs.merge(&["s1", "s2", "s3"], "compressed").unwrap();
    assert!(runs.path("compressed").join(COMPRESSED).exists());
    assert_eq!(runs.tasks("compressed"), runs.tasks("plain"));
    RunDirectory::open(&runs.path("compressed"), &shard(None)).unwrap();
}
