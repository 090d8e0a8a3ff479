use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fixfly_runtime::{Episode, Outcome, read_episodes, read_run};
use tempfile::TempDir;

use crate::project::benchmark;
use crate::{command, printed, sentence};

/// A benchmark and a place for runs on it.
pub(crate) struct Bench {
    folder: TempDir,
    pub(crate) runs: TempDir,
}

impl Bench {
    pub(crate) fn new(seconds: f64) -> Self {
        Bench { folder: benchmark(seconds), runs: tempfile::tempdir().unwrap() }
    }

    /// `fixfly run` on it, with these further words.
    pub(crate) fn run(&self, run: &str, more: &[&str]) -> Command {
        let folder = self.folder.path().to_str().unwrap();
        let run = self.runs.path().join(run);
        let mut words = vec!["run", "python", "--benchmark-dir", folder, "-o"];
        words.push(run.to_str().unwrap());
        words.extend(more);
        command(&words)
    }

    pub(crate) fn episodes(&self, run: &str) -> Vec<Episode> {
        read_episodes(&self.runs.path().join(run)).unwrap()
    }
}

#[track_caller]
pub(crate) fn ended_well(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

#[test]
fn a_dry_run_estimates_and_leaves_nothing() {
    let bench = Bench::new(0.0);
    let profile = bench.runs.path().join("mine.toml");
    let limits = "[limits]\nrequests_per_minute = 6\n[price]\ninput = 2.0\noutput = 8.0\n";
    fs::write(&profile, format!("model = \"m\"\nbase_url = \"http://localhost:1/v1\"\n{limits}"))
        .unwrap();
    let profile = profile.to_str().unwrap();
    let more = ["--policy", "openai", "--profile", profile, "--turns", "2", "--samples", "4"];
    let rest = ["--max-tokens", "1000", "--jobs", "2", "--dry-run"];
    let text = ended_well(bench.run("dry", &[&more[..], &rest].concat()));
    let row = |name: &str| {
        let line =
            text.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{text}"));
        line.split('┆').map(|cell| cell.trim_matches(['│', ' ']).to_string()).collect::<Vec<_>>()
    };
    assert!(text.starts_with("3 tasks, 12 episodes, 2 at a time\n"), "{text}");
    assert_eq!(row("Turns")[1..], ["12", "24"]);
    assert_eq!(row("Model time by rate limits")[1..], ["2m 0s", "4m 0s"]);
    assert!(
        text.contains("The limit is 24,000 completion tokens (24 turns of 1,000 tokens"),
        "{text}"
    );
    assert!(text.contains(", $0.19.\n"), "{text}");
    let tokens: Vec<u64> =
        row("Prompt tokens")[1..].iter().map(|n| n.replace(',', "").parse().unwrap()).collect();
    assert!(tokens[0] > 12 * 50 && tokens[1] > 2 * tokens[0], "{text}");
    fs::write(
        bench.runs.path().join("mine.toml"),
        "model = \"m\"\nbase_url = \"http://localhost:1/v1\"\n[sampling]\nmax_tokens = 500\n",
    )
    .unwrap();
    let text = ended_well(bench.run("dry", &[&more[..], &["--dry-run"]].concat()));
    assert!(text.contains("(24 turns of 500 tokens"), "the profile's limit: {text}");
    assert!(!bench.runs.path().join("dry").exists());
}

#[test]
fn the_oracle_solves_everything_and_a_stub_nothing() {
    let bench = Bench::new(0.0);
    let report = ended_well(bench.run("oracle", &["--policy", "oracle"]));
    assert!(report.contains("3 episodes on 3 tasks of python (benchmark), policy oracle"));
    assert!(bench.episodes("oracle").iter().all(|e| e.solved_at() == Some(1)));
    let record = read_run(&bench.runs.path().join("oracle")).unwrap();
    assert!(record.machine.python.starts_with("Python 3"));
    assert_eq!(record.config["policy"], "oracle");

    ended_well(bench.run("null", &["--policy", "null", "--turns", "2"]));
    let episodes = bench.episodes("null");
    assert!(episodes.iter().all(|e| !e.solved() && !e.turns.is_empty()));
    let first = &episodes[0].turns[0].observation;
    assert_eq!(first.outcome, Outcome::Failed);
    let failure = first.tests.as_ref().unwrap().results[0].failure.as_ref().unwrap();
    assert_eq!(failure.exception, "NotImplementedError");

    let path = |run: &str| bench.runs.path().join(run).display().to_string();
    let csv = printed(&["report", &path("oracle"), &path("null"), "--format", "csv"]);
    assert!(csv.contains(&format!("{},Overall,solved,Count,3\n", path("oracle"))), "{csv}");
    assert!(csv.contains(&format!("{},Overall,solved,Count,0\n", path("null"))), "{csv}");
}

#[test]
fn the_same_actions_give_the_same_observations() {
    let bench = Bench::new(0.0);
    ended_well(bench.run("null", &["--policy", "null", "--turns", "1"]));
    let recorded = bench.runs.path().join("null").display().to_string();
    let replay = ["--policy", "replay", "--replay", &recorded, "--turns", "1"];
    ended_well(bench.run("again", &replay));
    let answers = |run: &str| -> Vec<String> {
        let mut all: Vec<_> = bench
            .episodes(run)
            .into_iter()
            .map(|e| format!("{} {:?}", e.task.id, e.turns[0].observation))
            .collect();
        all.sort();
        all
    };
    assert_eq!(answers("null"), answers("again"));
}

#[test]
fn the_flags_choose_the_tasks() {
    let bench = Bench::new(0.0);
    ended_well(bench.run("one", &["--policy", "oracle", "--task-id", "*.t?tal", "--samples", "2"]));
    let one: Vec<_> = bench
        .episodes("one")
        .into_iter()
        .map(|e| (e.task.id, e.provenance.sample, e.provenance.seed))
        .collect();
    assert_eq!(one.len(), 2);
    assert!(one.iter().all(|(id, ..)| id == "shop/cart.py::Cart.total"), "{one:?}");
    assert_ne!(one[0].2, one[1].2, "each sample has its own seed");

    ended_well(bench.run("two", &["--policy", "oracle", "--limit", "2", "--jobs", "1"]));
    assert_eq!(bench.episodes("two").len(), 2);

    let none = bench.run("none", &["--policy", "oracle", "--task-id", "flask/*"]).output().unwrap();
    let expected = "no task of python (benchmark) matches `flask/*`";
    assert_eq!(sentence(none), (2, expected.to_string()));
}

#[test]
fn a_finished_run_is_not_run_again_and_another_one_not_mixed_in() {
    let bench = Bench::new(0.0);
    ended_well(bench.run("x", &["--policy", "oracle"]));
    let file = bench.runs.path().join("x/episodes.jsonl");
    let before = fs::read(&file).unwrap();
    ended_well(bench.run("x", &["--policy", "oracle", "--jobs", "1"]));
    assert_eq!(fs::read(&file).unwrap(), before);

    let (code, stderr) = sentence(bench.run("x", &["--policy", "null"]).output().unwrap());
    assert_eq!(code, 1);
    assert!(stderr.contains("(policy was \"oracle\", now \"null\")"), "{stderr}");
    assert_eq!(fs::read(&file).unwrap(), before);
    // The policy is not even opened: the missing key would be named then.
    let budget = ["--policy", "openai", "--model", "m", "--budget", "1"];
    let (code, stderr) = sentence(bench.run("x", &budget).output().unwrap());
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("policy was \"oracle\", now \"openai\""), "{stderr}");
    let mut elsewhere = bench.run("y", &budget);
    let (code, stderr) = sentence(elsewhere.env_remove("OPENAI_API_KEY").output().unwrap());
    assert!(code == 2 && stderr.contains("OPENAI_API_KEY"), "{stderr}");
}

/// A run of six slow episodes, one at a time.
fn slow(bench: &Bench) -> Child {
    let mut command = bench.run("slow", &["--policy", "oracle", "--samples", "2", "--jobs", "1"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub(crate) fn lines(file: &Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

#[track_caller]
pub(crate) fn wait_for_lines(file: &Path, count: usize) {
    let start = Instant::now();
    while lines(file) < count {
        assert!(start.elapsed() < Duration::from_secs(60), "no episode was recorded");
        sleep(Duration::from_millis(20));
    }
}

fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_run_killed_at_any_time_goes_on() {
    let bench = Bench::new(0.3);
    let file = bench.runs.path().join("slow/episodes.jsonl");
    for done in [1, 3] {
        let mut child = slow(&bench);
        wait_for_lines(&file, done);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let recorded = fs::read_to_string(&file).unwrap();
    let output = slow(&bench).wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(fs::read_to_string(&file).unwrap().starts_with(&recorded), "nothing is made twice");
    assert_eq!(bench.episodes("slow").len(), 6);
    assert_eq!(lines(&file), 6);
}

#[test]
fn ctrl_c_finishes_what_runs_and_twice_stops_at_once() {
    let bench = Bench::new(0.5);
    let file = bench.runs.path().join("slow/episodes.jsonl");
    let stopped = |output: Output| {
        assert_eq!(output.status.code(), Some(130));
        assert!(output.stdout.is_empty());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.contains("finishing 1 episode; press Ctrl-C again to stop at once"),
            "{stderr}"
        );
        assert!(
            stderr.lines().last().unwrap().contains("run the same command again to resume"),
            "{stderr}"
        );
        stderr
    };
    let child = slow(&bench);
    wait_for_lines(&file, 1);
    send(&child, "-INT");
    let stderr = stopped(child.wait_with_output().unwrap());
    assert_eq!(lines(&file), 2, "the episode under way is recorded");
    assert!(stderr.contains("stopped with 4 episodes left"), "{stderr}");

    let child = slow(&bench);
    wait_for_lines(&file, 3);
    send(&child, "-INT");
    sleep(Duration::from_millis(100));
    send(&child, "-TERM");
    let stderr = stopped(child.wait_with_output().unwrap());
    assert_eq!(lines(&file), 3, "the episode under way is dropped");
    assert!(stderr.contains("stopped with 3 episodes left"), "{stderr}");
}

#[test]
fn one_run_has_one_writer() {
    let bench = Bench::new(0.3);
    let mut child = slow(&bench);
    wait_for_lines(&bench.runs.path().join("slow/episodes.jsonl"), 1);
    let (code, stderr) = sentence(slow(&bench).wait_with_output().unwrap());
    assert_eq!(code, 1);
    let owner = format!("is in use by another fixfly process (pid {} on ", child.id());
    assert!(stderr.contains(&owner), "{stderr}");
    child.kill().unwrap();
    child.wait().unwrap();
}
