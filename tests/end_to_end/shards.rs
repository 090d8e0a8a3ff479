//! Runs in shards: divided, merged, read as one.

mod examples;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use fixfly_runtime::{Episode, RunDirectory, Timings, read_episodes, read_run};
use serde_json::Value;

use crate::project::benchmark;
use crate::recorded::fixture;
use crate::runs::{Bench, ended_well, lines};
use crate::server::{Reply, words};
use crate::teachers::{Asked, WRONG};
use crate::{command, printed, refused, sentence};

/// What every run here does: three methods, two samples each, nothing is solved.
const FLAGS: [&str; 6] = ["--policy", "null", "--turns", "2", "--samples", "2"];

fn run(bench: &Bench, name: &str, more: &[&str]) -> String {
    ended_well(bench.run(name, &[&FLAGS[..], more].concat()))
}

fn path(bench: &Bench, name: &str) -> String {
    bench.runs.path().join(name).display().to_string()
}

/// A run as one, and the same in three shards.
fn divided() -> Bench {
    let bench = Bench::new(0.0);
    run(&bench, "whole", &[]);
    for index in 1..=3 {
        run(&bench, &format!("shard-{index}"), &["--shard", &format!("{index}/3")]);
    }
    bench
}

fn merge(bench: &Bench, names: &[&str], output: &str) -> String {
    let paths: Vec<String> = names.iter().map(|name| path(bench, name)).collect();
    let output = path(bench, output);
    let mut words = vec!["merge-runs"];
    words.extend(paths.iter().map(String::as_str));
    words.extend(["-o", &output]);
    printed(&words).replace(&format!("{}/", bench.runs.path().display()), "")
}

/// The episodes without their times, by task and sample.
pub(crate) fn timeless(folder: &Path) -> BTreeMap<(String, u32), Episode> {
    let episodes = read_episodes(folder).unwrap().into_iter().map(|mut episode| {
        episode.provenance.started = String::new();
        episode.provenance.seconds = 0.0;
        episode.turns.iter_mut().for_each(|turn| turn.timings = Timings::default());
        ((episode.task.id.clone(), episode.provenance.sample), episode)
    });
    episodes.collect()
}

/// The values of the only run of a report, without its name, its shards and its times.
fn values(runs: &[&str]) -> Value {
    let text = printed(&[&["report"], runs, &["--format", "json"]].concat());
    let mut report: Value = serde_json::from_str(&text).unwrap();
    let all = report["runs"].as_array_mut().unwrap();
    assert_eq!(all.len(), 1, "one run: {text}");
    let values = all[0].as_object_mut().unwrap();
    for key in ["run", "shards", "times", "wall_seconds"] {
        values.remove(key);
    }
    report
}

#[test]
fn shards_are_merged_into_the_undivided_run() {
    let bench = divided();
    let seeds = |name: &str| -> Vec<(String, u32, u64)> {
        let episodes = bench.episodes(name).into_iter();
        let key = |one: Episode| (one.task.id, one.provenance.sample, one.provenance.seed);
        episodes.map(key).collect()
    };
    let mut of_shards: Vec<_> = (1..=3).flat_map(|at| seeds(&format!("shard-{at}"))).collect();
    assert!((1..=3).all(|at| seeds(&format!("shard-{at}")).len() == 2), "one task each");
    let mut all = seeds("whole");
    of_shards.sort();
    all.sort();
    assert_eq!(of_shards, all);

    let text = merge(&bench, &["shard-2", "shard-3", "shard-1"], "all");
    assert_eq!(text, "all: 6 episodes of 3 runs, 3 of 3 shards\n");
    merge(&bench, &["shard-1", "shard-2", "shard-3"], "again");
    let read = |name: &str| fs::read(bench.runs.path().join(name)).unwrap();
    for file in ["episodes.jsonl", "run.json"] {
        assert_eq!(read(&format!("all/{file}")), read(&format!("again/{file}")), "{file}");
    }
    let folder = |name: &str| bench.runs.path().join(name);
    assert_eq!(timeless(&folder("all")), timeless(&folder("whole")));

    // The same command without --shard finds nothing left.
    let before = read("all/episodes.jsonl");
    run(&bench, "all", &[]);
    assert_eq!(read("all/episodes.jsonl"), before);
}

#[test]
fn another_shard_does_not_resume_a_shard() {
    let bench = Bench::new(0.0);
    run(&bench, "x", &["--shard", "1/3"]);
    let recorded = lines(&bench.runs.path().join("x/episodes.jsonl"));
    let refused = |more: &[&str], expected: &str| {
        let (code, error) =
            sentence(bench.run("x", &[&FLAGS[..], more].concat()).output().unwrap());
        assert_eq!(code, 1);
        assert!(error.contains(&format!("({expected})")), "{error}");
    };
    refused(&["--shard", "2/3"], "shard was \"1/3\", now \"2/3\"");
    refused(&["--shard", "1/2"], "shard was \"1/3\", now \"1/2\"");
    refused(&[], "shard was \"1/3\", now not set");
    run(&bench, "x", &["--shard", "1/3"]);
    assert_eq!(lines(&bench.runs.path().join("x/episodes.jsonl")), recorded);
    run(&bench, "y", &[]);
    let again = bench.run("y", &[&FLAGS[..], &["--shard", "1/3"]].concat()).output().unwrap();
    assert!(sentence(again).1.contains("(shard was not set, now \"1/3\")"));
    let wrong = bench.run("z", &["--policy", "null", "--shard", "4/3"]).output().unwrap();
    assert_eq!(
        sentence(wrong),
        (
            2,
            "invalid value '4/3' for '--shard <I/N>': it must be I/N, such as 2/4: shard I of N, \
             with I from 1 to N and N at most 10000; see --help"
                .into()
        )
    );
}

#[test]
fn the_limit_comes_before_the_division_and_a_shard_can_be_empty() {
    let bench = Bench::new(0.0);
    run(&bench, "whole", &["--limit", "2"]);
    for index in 1..=3 {
        let shard = format!("{index}/3");
        run(&bench, &format!("shard-{index}"), &["--limit", "2", "--shard", &shard]);
    }
    assert_eq!(bench.episodes("shard-3").len(), 0);
    let text = merge(&bench, &["shard-1", "shard-2", "shard-3"], "all");
    assert_eq!(text, "all: 4 episodes of 3 runs, 3 of 3 shards\n");
    let folder = |name: &str| bench.runs.path().join(name);
    assert_eq!(timeless(&folder("all")), timeless(&folder("whole")));
    let dry = run(&bench, "none", &["--shard", "1/3", "--dry-run"]);
    assert!(dry.starts_with("1 tasks, 2 episodes"), "{dry}");
}

#[test]
fn a_lost_shard_is_run_in_the_merged_folder() {
    let bench = divided();
    let text = merge(&bench, &["shard-1", "shard-3"], "part");
    assert_eq!(
        text,
        "part: 4 episodes of 2 runs, 2 of 3 shards, missing: 2\n\
         2 episodes are left: run `fixfly run` with the flags of these runs, without --shard, and \
         -o part\n"
    );
    let report = printed(&["report", &path(&bench, "part")]);
    assert!(report.contains(", 2 of 3 shards, missing: 2\n"), "{report}");
    let merged = fs::read_to_string(bench.runs.path().join("part/episodes.jsonl")).unwrap();
    run(&bench, "part", &[]);
    let after = fs::read_to_string(bench.runs.path().join("part/episodes.jsonl")).unwrap();
    assert!(after.starts_with(&merged), "nothing is made twice");
    let folder = |name: &str| bench.runs.path().join(name);
    assert_eq!(timeless(&folder("part")), timeless(&folder("whole")));
    let report = printed(&["report", &path(&bench, "part")]);
    assert!(report.contains(", 3 of 3 shards\n"), "{report}");
}

#[test]
fn runs_that_are_not_shards_of_one_are_refused() {
    let bench = divided();
    ended_well(bench.run("other", &["--policy", "oracle", "--samples", "2", "--shard", "2/3"]));
    let [one, other, all] = ["shard-1", "other", "all"].map(|name| path(&bench, name));
    let (code, error) = refused(&["merge-runs", &one, &other, "-o", &all]);
    let expected = format!(
        "{one} and {other} cannot be one run: their settings differ (policy: \"null\", and \
         \"oracle\"; turns: 2, and 5); name runs that differ in the shard only"
    );
    assert_eq!((code, error), (1, expected));
    assert!(!Path::new(&all).exists());
    // Both are one run still, but this is not the time that they recorded.
    run(&bench, "again", &["--shard", "1/3"]);
    let (_, error) = refused(&["merge-runs", &one, &path(&bench, "again"), "-o", &all]);
    assert!(error.contains("and the two differ (provenance"), "{error}");
}

#[test]
fn shards_are_reported_as_one_run() {
    let bench = divided();
    let shards = ["shard-1", "shard-2", "shard-3"].map(|name| path(&bench, name));
    let [one, two, three] = shards.each_ref().map(String::as_str);
    let whole = values(&[&path(&bench, "whole")]);
    assert_eq!(values(&[three, one, two]), whole);
    merge(&bench, &["shard-1", "shard-2", "shard-3"], "all");
    assert_eq!(values(&[&path(&bench, "all")]), whole);

    let text = printed(&["report", one, two]);
    assert!(text.starts_with(&format!("{one} and 1 more shard\n")), "{text}");
    assert!(text.contains(", 2 of 3 shards, missing: 3\n"), "{text}");
    let page = bench.runs.path().join("page.html");
    printed(&["report", one, three, "--html", page.to_str().unwrap()]);
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("(2 of 3 shards, missing: 2)"), "the page names what is missing");
    // Labels tell runs apart.
    let labelled = format!("{two},model=Other");
    let json = printed(&["report", one, &labelled, "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["runs"].as_array().unwrap().len(), 2);
    assert_eq!(json["runs"][0]["shards"]["missing"], serde_json::json!([2, 3]));
}

#[cfg(feature = "view")]
#[test]
fn the_viewer_shows_shards_as_one_run() {
    let bench = divided();
    let (runs, out) = (bench.runs.path().display().to_string(), tempfile::tempdir().unwrap());
    let folder = out.path().join("pages");
    printed(&["view", &runs, "--export", folder.to_str().unwrap()]);
    let home = fs::read_to_string(folder.join("index.html")).unwrap();
    assert!(home.contains(">shard</a>") && !home.contains(">shard-1</a>"), "{home}");
    let mut pages = vec![folder];
    let mut with_shards = 0;
    while let Some(page) = pages.pop() {
        if page.is_dir() {
            pages.extend(fs::read_dir(page).unwrap().map(|entry| entry.unwrap().path()));
        } else if page.extension().is_some_and(|end| end == "html") {
            let text = fs::read_to_string(page).unwrap();
            with_shards += usize::from(text.contains("3 of 3 shards") && text.contains("6 of 6"));
        }
    }
    assert_eq!(with_shards, 1, "the page of the run");
}

/// A dataset's rows without the names of the runs.
fn rows(dataset: &Path) -> Vec<Value> {
    let text = fs::read_to_string(dataset.join("rows.jsonl")).unwrap();
    let row = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        assert_ne!(row["origin"]["run"].take(), Value::Null);
        row
    };
    text.lines().map(row).collect()
}

#[test]
fn a_dataset_of_shards_has_the_rows_of_the_undivided_run() {
    let folder = benchmark(0.0);
    let at = |name: &str| folder.path().join(name).display().to_string();
    let manifest = fs::read_to_string(at("manifest.jsonl")).unwrap();
    let lines = manifest.lines().map(|line| match line.contains("Cart.add") {
        true => line.to_string() + "\n",
        false => line.replace("\"split\":\"benchmark\"", "\"split\":\"train\"") + "\n",
    });
    fs::write(at("manifest.jsonl"), lines.collect::<String>()).unwrap();
    let recipe = "about = 'All.'\nloss = 'last'\n[[teachers]]\nname = 'any'\nmodels = ['*']\n\
                  take = ['unsolved', 'at-once']\n";
    fs::write(at("mine.toml"), recipe).unwrap();
    let (bench, recipe) = (folder.path().display().to_string(), at("mine.toml"));
    let run = |name: &str, more: &[&str]| {
        let to = at(name);
        let words = ["run", "python", "--benchmark-dir", &bench, "--split", "train", "-o", &to];
        ended_well(command(&[&words[..], &FLAGS, more].concat()));
    };
    run("whole", &[]);
    run("shard-1", &["--shard", "1/3"]);
    run("shard-2", &["--shard", "2/3"]);
    let build = |runs: &[&str], to: &str| -> String {
        let (runs, to): (Vec<String>, _) = (runs.iter().map(|run| at(run)).collect(), at(to));
        let words = ["dataset", "build", "--recipe", &recipe, "-o", &to];
        printed(&[&words[..], &runs.iter().map(String::as_str).collect::<Vec<_>>()].concat())
    };
    let whole = build(&["whole"], "of-whole");
    let shards = build(&["shard-2", "shard-1"], "of-shards");
    assert_eq!(rows(Path::new(&at("of-shards"))), rows(Path::new(&at("of-whole"))));
    assert!(!rows(Path::new(&at("of-whole"))).is_empty());
    // There are two tasks, so the third shard has nothing to give.
    assert!(shards.contains("divided run of any: 3 of 3 shards\n"), "{shards}");
    assert!(!whole.contains("divided"), "{whole}");
    build(&["shard-1"], "of-one");
    let card = fs::read_to_string(at("of-one/README.md")).unwrap();
    assert!(card.contains("A divided run of any: 1 of 3 shards, missing: 2, 3."), "{card}");
    let text = fs::read_to_string(at("of-shards/rows.jsonl")).unwrap();
    assert!(text.contains(&at("shard-1")) && text.contains(&at("shard-2")), "each names its shard");
}

#[test]
fn money_of_shards_counts_in_the_merged_run() {
    let asked = Asked::new([Reply::Message(words(WRONG))]);
    let flags = ["--task-id", "*", "--jobs", "1", "--turns", "2"];
    let run = |name: &str, more: &[&str]| asked.command(name, &[&flags[..], more].concat());
    // A third of the budget does not cover one answer, which may cost ten dollars.
    let output = run("poor", &["--shard", "1/3", "--budget", "12"]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("shard 1/3's part of the budget of $4 does not cover"), "{errors}");
    ended_well(run("shard-1", &["--shard", "1/3", "--budget", "60"]));
    ended_well(run("shard-2", &["--shard", "2/3", "--budget", "60"]));
    let paid = asked.server.requests().len();
    assert_eq!(paid, 4);
    let text = merge(&asked.bench, &["shard-2", "shard-1"], "all");
    assert!(text.contains("2 episodes of 2 runs, 2 of 3 shards, missing: 3\n"), "{text}");
    let journal = |name: &str| {
        let file = asked.bench.runs.path().join(name).join("journal/calls.jsonl");
        fs::read_to_string(file).unwrap()
    };
    assert_eq!(journal("all"), journal("shard-1") + &journal("shard-2"));
    let stderr = String::from_utf8(run("all", &["--budget", "0.1"]).output().unwrap().stderr);
    let stderr = stderr.unwrap();
    assert!(stderr.contains("are spent, in 4 calls"), "{stderr}");
    ended_well(run("all", &["--budget", "60"]));
    assert_eq!(asked.server.requests().len(), paid + 2, "only the third method is paid for");
    assert_eq!(asked.bench.episodes("all").len(), 3);
}

/// Three shards with this many episodes each.
fn large(folder: &Path, each: usize) -> Vec<PathBuf> {
    let (record, episodes) =
        (read_run(&fixture("run")).unwrap(), read_episodes(&fixture("run")).unwrap());
    (1..=3)
        .map(|index| {
            let mut record = record.clone();
            record.config.insert("shard".into(), format!("{index}/3").into());
            let path = folder.join(format!("shard-{index}"));
            let (mut run, _) = RunDirectory::open(&path, &record).unwrap();
            for at in 0..each {
                let mut episode = episodes[at % episodes.len()].clone();
                episode.task.id = format!("{index}-{at}");
                run.append(&episode).unwrap();
            }
            path
        })
        .collect()
}

#[test]
fn a_merge_that_is_killed_at_any_time_can_be_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let shards = large(folder.path(), 100);
    let merge = |output: &Path| {
        let mut words = vec!["merge-runs"];
        words.extend(shards.iter().map(|shard| shard.to_str().unwrap()));
        words.extend(["-o", output.to_str().unwrap()]);
        command(&words)
    };
    let files = |output: &Path| {
        ["run.json", "episodes.jsonl"].map(|name| fs::read(output.join(name)).unwrap())
    };
    let whole = folder.path().join("whole");
    ended_well(merge(&whole));
    for wait in [0, 2, 5, 10, 20, 40, 80] {
        let output = folder.path().join(format!("killed-{wait}"));
        let mut child = merge(&output).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        // Whenever that was: there is no run, or the whole one.
        if !output.join("run.json").exists() {
            assert!(read_run(&output).is_err());
            ended_well(merge(&output));
        }
        assert_eq!(files(&output), files(&whole), "killed after {wait} ms");
    }
    let left = Command::new("find").arg(folder.path()).args(["-name", "*.merging"]).output();
    assert_eq!(left.unwrap().stdout, b"");
}
