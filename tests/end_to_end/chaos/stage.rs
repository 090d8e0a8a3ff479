//! A benchmark, a teacher, and runs that are disturbed and compared with one that is not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use fixfly_runtime::is_altered;
use serde_json::Value;

use super::chance::Chance;
use super::leftovers::Linked;
use super::table::Damage;
use super::teacher::{Till, teacher};
use crate::runs::Bench;
use crate::server::{Reply, Server};

/// What an outage does to something that a run needs.
pub(super) enum Switch {
    Off,
    On,
}

/// Nothing waits for long, and nothing is too late on a slow machine.
const PROFILE: &str = "\
[price]
input = 10.0
cached = 1.0
output = 1000.0
[seconds]
backoff = 0.01
first_byte = 600.0
idle = 600.0
retries = 3
";

/// Keys whose values differ between two runs that are equal.
const TIMES: [&str; 6] =
    ["started", "seconds", "timings", "first_token_ms", "tokens_per_second", "crc32c"];
/// And these, where calls failed and were repeated.
const COSTS: [&str; 2] = ["calls", "usd"];

/// What decides the next action.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// A model that is paid for each call, two turns an episode.
    Paid,
    /// Ground truth.
    Oracle,
}

/// The episodes of a run by task and sample, without what differs in each run.
pub(super) type Episodes = BTreeMap<(String, u64), Value>;

pub(super) struct Stage {
    pub(super) bench: Bench,
    pub(super) till: Arc<Till>,
    server: Server,
    pub(super) linked: Linked,
    /// Further words of each run.
    pub(super) words: Vec<String>,
    /// Further variables of each run.
    pub(super) variables: Vec<(String, String)>,
    kind: Kind,
    ignored: Vec<&'static str>,
    /// The episodes that the run had before the present process.
    before: Vec<Vec<u8>>,
    pub(super) damage: Damage,
}

impl Stage {
    /// With a teacher that gives these replies first.
    pub(super) fn new(kind: Kind, first: impl IntoIterator<Item = Reply>) -> Stage {
        let till = Arc::new(Till::default());
        let script = first.into_iter().chain([teacher(&till)]);
        let server = Server::new(script);
        let stage = Stage {
            bench: Bench::new(0.0),
            till,
            server,
            linked: Linked::new(),
            words: Vec::new(),
            variables: Vec::new(),
            kind,
            ignored: TIMES.to_vec(),
            before: Vec::new(),
            damage: Damage::default(),
        };
        fs::write(stage.folder().join("teacher.toml"), PROFILE).unwrap();
        stage
    }

    /// Takes calls that failed as no difference.
    pub(super) fn whatever_it_costs(mut self) -> Stage {
        self.ignored.extend(COSTS);
        self
    }

    pub(super) fn folder(&self) -> &Path {
        self.bench.runs.path()
    }

    pub(super) fn path(&self, run: &str) -> PathBuf {
        self.folder().join(run)
    }

    /// Ends the teacher, in the middle of what it sends.
    pub(super) fn stop_teacher(&mut self) {
        self.server.stop();
    }

    /// Starts it again, at the same address.
    pub(super) fn start_teacher(&mut self) {
        self.server.start();
    }

    /// Gives these replies first from now on.
    pub(super) fn answer_first(&mut self, first: Vec<Reply>) {
        self.server.script(first.into_iter().chain([teacher(&self.till)]));
    }

    /// The command of a run.
    pub(super) fn command(&self, run: &str) -> Command {
        let profile = self.path("teacher.toml");
        let own = match self.kind {
            Kind::Paid => vec![
                "--policy",
                "openai",
                "--model",
                "m",
                "--turns",
                "2",
                "--budget",
                "1000000",
                "--base-url",
                &self.server.url,
                "--profile",
                profile.to_str().unwrap(),
            ],
            Kind::Oracle => vec!["--policy", "oracle"],
        };
        let rest = ["--samples", "4", "--jobs", "2"];
        let words = self.words.iter().map(String::as_str);
        let words: Vec<&str> = own.into_iter().chain(rest).chain(words).collect();
        let made = self.bench.run(run, &words);
        let mut command = Command::new(&self.linked.path);
        command.args(made.get_args()).env("FIXFLY_HOME", "/nonexistent/fixfly");
        command.env_remove("RUST_LOG").env("OPENAI_API_KEY", "sk-secret-of-the-test");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a run or continues it, as the leader of a process group.
    pub(super) fn start(&mut self, run: &str) -> Child {
        self.till.open(&self.path(run).join("journal"));
        self.before = lines(&self.path(run));
        let log = File::options().create(true).append(true).open(self.log(run)).unwrap();
        let mut command = self.command(run);
        command.stdout(Stdio::null()).stderr(log).process_group(0);
        let child = command.spawn().unwrap();
        self.linked.pids.push(child.id());
        child
    }

    /// What a run printed so far, for people.
    pub(super) fn printed(&self, run: &str) -> String {
        fs::read_to_string(self.log(run)).unwrap_or_default()
    }

    fn log(&self, run: &str) -> PathBuf {
        self.path(&format!("{run}.log"))
    }

    /// Bytes of the run's episodes and of its journal.
    pub(super) fn size(&self, run: &str) -> u64 {
        let files = ["episodes.jsonl", "journal/calls.jsonl"];
        let sizes = files.iter().map(|file| fs::metadata(self.path(run).join(file)));
        sizes.flatten().map(|facts| facts.len()).sum()
    }

    /// Waits until so many bytes are new, or the process has ended. Returns whether it has
    /// not.
    pub(super) fn wait_for_growth(&self, child: &mut Child, run: &str, bytes: u64) -> bool {
        let before = self.size(run);
        while child.try_wait().unwrap().is_none() {
            if self.size(run) >= before + bytes {
                return true;
            }
            sleep(Duration::from_millis(2));
        }
        false
    }

    /// Counts the episodes that the process that has just ended lost.
    pub(super) fn count_lost(&mut self, run: &str) {
        let now = lines(&self.path(run));
        self.damage.lost += self.before.iter().filter(|line| !now.contains(line)).count();
    }

    /// Counts the episodes of one copy of a run that a later copy lacks.
    pub(super) fn count_lost_between(&mut self, then: &Path, now: &Path) {
        let now = lines(now);
        self.damage.lost += lines(then).iter().filter(|line| !now.contains(line)).count();
    }

    /// The years in which the episodes of a run began.
    pub(super) fn years(&self, run: &str) -> BTreeSet<String> {
        let episodes = lines(&self.path(run)).into_iter();
        let episodes = episodes.map(|line| serde_json::from_slice::<Value>(&line).unwrap());
        let started =
            |episode: Value| episode["provenance"]["started"].as_str().unwrap()[..4].into();
        episodes.map(started).collect()
    }

    /// The number of requests that the teacher got since it was started.
    pub(super) fn asked(&self) -> usize {
        self.server.requests().len()
    }

    /// Runs a command until it succeeds; between two tries, `remedy` gets what it printed.
    #[track_caller]
    pub(super) fn finish(&mut self, run: &str, mut remedy: impl FnMut(&mut Stage, &str)) {
        for _ in 0..20 {
            let printed = self.printed(run).len();
            let status = self.start(run).wait().unwrap();
            self.count_lost(run);
            if status.success() {
                return;
            }
            let errors = self.printed(run)[printed..].to_string();
            assert!(!errors.contains("panicked"), "{errors}");
            assert!(matches!(status.code(), Some(1 | 2 | 130)), "{status}: {errors}");
            remedy(self, &errors);
        }
        panic!("the same command never succeeds: {}", self.printed(run));
    }

    /// Makes runs while something that they need ends and comes back, `count` times in all: at
    /// most `bytes` after a start, for less than `pause` milliseconds. `switch` turns it off and
    /// on again.
    pub(super) fn outages(
        &mut self,
        count: usize,
        (bytes, pause): (u64, u64),
        mut switch: impl FnMut(&mut Stage, Switch),
    ) {
        let mut chance = Chance::new();
        let undisturbed = self.undisturbed();
        let (mut outages, mut number) = (0, 0);
        while outages < count {
            let run = format!("run-{number}");
            let mut child = self.start(&run);
            if self.wait_for_growth(&mut child, &run, chance.below(bytes)) {
                switch(self, Switch::Off);
                outages += 1;
                sleep(Duration::from_millis(chance.below(pause)));
                switch(self, Switch::On);
            }
            let status = child.wait().unwrap();
            self.count_lost(&run);
            assert!(matches!(status.code(), Some(0 | 1)), "{}", self.printed(&run));
            if status.success() {
                self.compare(&run, &undisturbed);
                number += 1;
            }
        }
        let run = format!("run-{number}");
        self.finish(&run, |_, _| {});
        self.compare(&run, &undisturbed);
    }

    /// An undisturbed run.
    #[track_caller]
    pub(super) fn undisturbed(&mut self) -> Episodes {
        self.finish("undisturbed", |_, errors| panic!("{errors}"));
        let (episodes, again) = self.episodes("undisturbed");
        assert_eq!((episodes.len(), again), (12, 0));
        episodes
    }

    /// Compares a run that has ended, and counts what is missing and what is there twice.
    #[track_caller]
    pub(super) fn compare(&mut self, run: &str, undisturbed: &Episodes) {
        let (episodes, again) = self.episodes(run);
        self.damage.duplicated += again;
        self.damage.lost += undisturbed.keys().filter(|key| !episodes.contains_key(*key)).count();
        for (key, expected) in undisturbed {
            let differs = episodes.get(key).and_then(|found| difference("", expected, found));
            assert_eq!(differs, None, "{key:?} of {run}");
        }
    }

    /// Removes what dead processes left, and counts what is left after it.
    pub(super) fn sweep(&mut self) -> Damage {
        // Without an engine, it ends with an error after the rest is done.
        let mut sweep = Command::new(&self.linked.path);
        sweep.args(["sandbox", "sweep"]).envs(self.variables.iter().cloned()).output().unwrap();
        self.end()
    }

    /// Counts what is left as it is.
    pub(super) fn end(&mut self) -> Damage {
        self.damage.left += self.linked.left(self.folder());
        self.damage.repaid = self.till.repaid();
        assert!(self.kind == Kind::Oracle || self.till.answered() > 12, "nothing was asked");
        // Requests that break the published schema fail here.
        self.asked();
        self.damage
    }

    /// The episodes of a run, and how many are there more than once. An infrastructure
    /// failure that was made again is no episode.
    #[track_caller]
    pub(super) fn episodes(&self, run: &str) -> (Episodes, usize) {
        let (mut all, mut again) = (Episodes::new(), 0);
        for line in lines(&self.path(run)) {
            let mut episode: Value = serde_json::from_slice(&line).unwrap();
            if episode["end"]["failure"] == "infrastructure" {
                continue;
            }
            let id = episode["task"]["id"].as_str().unwrap().to_string();
            let key = (id, episode["provenance"]["sample"].as_u64().unwrap());
            remove(&mut episode, &self.ignored);
            again += usize::from(all.insert(key, episode).is_some());
        }
        (all, again)
    }
}

/// The lines of a run's episodes that are complete and as they were recorded.
fn lines(run: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(run.join("episodes.jsonl")).unwrap_or_default();
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let is_json = |line: &[u8]| serde_json::from_slice::<Value>(line).is_ok();
    lines.filter(|line| !is_altered(line) && is_json(line)).map(<[u8]>::to_vec).collect()
}

/// The first place where two values differ, with both.
fn difference(place: &str, expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Object(one), Value::Object(other)) if one.keys().eq(other.keys()) => one
            .iter()
            .find_map(|(key, value)| difference(&format!("{place}/{key}"), value, &other[key])),
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            let mut pairs = pairs.map(|(at, (one, other))| (format!("{place}/{at}"), one, other));
            pairs.find_map(|(place, one, other)| difference(&place, one, other))
        }
        _ => (expected != found).then(|| format!("{place}: {found}, not {expected}")),
    }
}

fn remove(value: &mut Value, keys: &[&str]) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !keys.contains(&key.as_str()));
            fields.values_mut().for_each(|value| remove(value, keys));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| remove(value, keys)),
        _ => {}
    }
}
