//! Hostile candidates through the real binary: none may be called solved, be
//! blamed on the machine, outlive its run, or touch the candidate after it. Each
//! attack in each sandbox is a test of its own.

mod attacks;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::Django;
use attacks::{Attack, attack, attacks};
#[cfg(feature = "wasm")]
use fixfly_benchmarks::Item;
use fixfly_benchmarks::RunPath;
#[cfg(feature = "wasm")]
use fixfly_benchmarks::support::{self, ItemSupport, Support};
use fixfly_runtime::{
    Action, Answer, Benchmark, Budget, Call, End, Episode, Feedback, Impact, Machine, Observation,
    Outcome, Provenance, RunDirectory, RunRecord, SCHEMA, Split, Task, TestDelta, Timings, Turn,
    Usage, Wording, read_episodes,
};
use rstest::rstest;
use serde_json::json;
use tempfile::TempDir;

const ID: &str = "django/http/request.py::HttpHeaders.parse_header_name";
const TESTS: &[&str] = &[
    "requests_tests.tests.HttpHeadersTests.test_parse_header_name",
    "requests_tests.tests.HttpHeadersTests.test_basic",
];

/// A run whose only action each time is one of `codes`.
fn recording(task: &Task, codes: &[String]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let record = RunRecord {
        schema: SCHEMA,
        fixfly: String::new(),
        started: String::new(),
        config: Default::default(),
        seed: 0,
        benchmark: Default::default(),
        templates: Wording::default(),
        isolation: String::new(),
        machine: Machine::default(),
        tasks: None,
        merged: Vec::new(),
    };
    let (mut directory, _) = RunDirectory::open(folder.path(), &record).unwrap();
    for (sample, code) in (0..).zip(codes) {
        let call = Call::Tool { name: "submit_method".into(), args: json!({ "code": code }) };
        let action = Action {
            text: String::new(),
            reasoning: None,
            call,
            usage: Usage::default(),
            generation: None,
        };
        let left = Budget { turns: 0, tokens: None, seconds: None, usd: None };
        let turn = Turn {
            action,
            observation: Observation::refused(""),
            feedback: Feedback { delta: TestDelta::default(), left, message: String::new() },
            timings: Timings::default(),
        };
        let episode = Episode {
            schema: SCHEMA,
            task: task.clone(),
            policy: "hostile".into(),
            provenance: Provenance { sample, ..Provenance::default() },
            turns: vec![turn],
            end: End::Submitted,
            patch: None,
            left_out: Vec::new(),
            verdict: None,
        };
        directory.append(&episode).unwrap();
    }
    folder
}

/// Plays the recording with the real binary.
fn play(benchmark: &Path, recording: &Path, samples: usize, sandbox: &str) -> Vec<Episode> {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = Command::new(env!("CARGO_BIN_EXE_fixfly"))
        .args(["run", "django", "--policy", "replay", "--turns", "1", "--jobs", "1"])
        .args(["--sandbox", sandbox])
        .args(["--samples", &samples.to_string()])
        .arg("--benchmark-dir")
        .arg(benchmark)
        .arg("--replay")
        .arg(recording)
        .arg("-o")
        .arg(&run)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let mut episodes = read_episodes(&run).unwrap();
    episodes.sort_by_key(|episode| episode.provenance.sample);
    episodes
}

/// Processes of the machine whose arguments hold `mark`.
fn marked(mark: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let arguments = processes.filter_map(|at| fs::read(at.path().join("cmdline")).ok());
    arguments.filter(|bytes| String::from_utf8_lossy(bytes).contains(mark)).count()
}

/// What is wrong with an attack's episode, if anything is.
fn fault(attack: &Attack, episode: &Episode) -> Option<String> {
    let seen = &episode.turns.first()?.observation;
    let expected =
        attack.outcomes.contains(&seen.outcome) && seen.text.contains(&attack.observation);
    let flags = episode.verdict.as_ref().map_or(&[][..], |verdict| &verdict.review);
    let believed = match &attack.flagged {
        // A person is asked to review it.
        Some(flag) => episode.solved() && !flags.contains(flag),
        None => episode.solved(),
    };
    if !believed && !episode.infrastructure_failure() && expected {
        return None;
    }
    let end = &episode.end;
    Some(format!("== {}: {end:?}, {:?}\n{}", attack.name, seen.outcome, seen.text))
}

/// Whether that sandbox is there; what is missing is printed.
async fn is_here(sandbox: &str) -> bool {
    let entry = fixfly_sandboxes::ALL.iter().find(|entry| entry.name == sandbox).unwrap();
    let protections =
        (entry.open)(&fixfly_sandboxes::HostOptions::default()).unwrap().protections().await;
    let missing = protections
        .iter()
        .find(|protection| protection.impact == Impact::NoSandbox && protection.by.is_none());
    missing.inspect(|missing| eprintln!("skipped `{sandbox}`: {}", missing.remedy)).is_none()
}

/// What attacks are played on, and the word by which what they start is known.
struct Stage {
    attacks: Vec<Attack>,
    #[cfg(feature = "wasm")]
    item: Item,
    benchmark: TempDir,
    recorded: TempDir,
    mark: String,
    _listener: TcpListener,
}

/// After each attack an honest candidate, in the same sandbox.
async fn stage(django: &Django, attacks: Vec<Attack>) -> Stage {
    let mut item = django.item(ID, RunPath::Hot, TESTS);
    item.seconds = 0.0;
    let methods = django.methods(vec![item.clone()]);
    let task = methods.tasks(Split::Benchmark).await.unwrap().remove(0);
    let truth = methods.ground_truth().answer(&task, Answer::Truth).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mark = format!("77{}", std::process::id());
    let hostile = |attack: &Attack| {
        let body = attack.body.replace("PORT", &port).replace("MARK", &mark);
        let body: String = body.lines().map(|line| format!("    {line}\n")).collect();
        format!("def parse_header_name(cls, header):\n{body}")
    };
    let codes: Vec<String> =
        attacks.iter().flat_map(|attack| [hostile(attack), truth.clone()]).collect();
    let benchmark = django.benchmark(vec![item.clone()]);
    let recorded = recording(&task, &codes);
    Stage {
        attacks,
        #[cfg(feature = "wasm")]
        item,
        benchmark,
        recorded,
        mark,
        _listener: listener,
    }
}

impl Stage {
    /// Each attack with its episode and the honest one's after it, all in one sandbox.
    fn play(&self, sandbox: &str) -> Vec<(&Attack, Vec<Episode>)> {
        let count = 2 * self.attacks.len();
        let episodes = play(self.benchmark.path(), self.recorded.path(), count, sandbox);
        assert_eq!(marked(&self.mark), 0, "processes are left");
        assert_eq!(episodes.len(), count);
        self.attacks.iter().zip(episodes.chunks(2).map(<[_]>::to_vec)).collect()
    }
}

#[track_caller]
fn solved(honest: &Episode, attack: &Attack) {
    let seen = honest.turns.first().map_or("", |turn| turn.observation.text.as_str());
    assert!(honest.solved(), "the honest one after {}: {:?}\n{seen}", attack.name, honest.end);
}

#[rstest]
#[tokio::test]
async fn it_is_not_solved_and_does_not_hurt_the_next_candidate(
    #[files("tests/verdicts/red_team/attacks/*.py")] file: PathBuf,
    #[values("local", "docker")] sandbox: &str,
) {
    let Some(django) = Django::here() else { return };
    if !is_here(sandbox).await {
        return;
    }
    let stage = stage(&django, vec![attack(&file)]).await;
    for (attack, pair) in stage.play(sandbox) {
        if let Some(fault) = fault(attack, &pair[0]) {
            panic!("{fault}");
        }
        solved(&pair[1], attack);
    }
}

/// In WebAssembly most attacks fail for lack of what they attack with. Python
/// starts slowly there, so all share one run. Those that only use up time are
/// played by a few: each takes all it may.
#[cfg(feature = "wasm")]
#[tokio::test]
async fn it_is_not_solved_in_wasm_and_does_not_hurt_the_next_candidate() {
    let Some(django) = Django::here() else { return };
    let mut attacks = attacks();
    let mut slow = 0;
    attacks.retain(|attack| {
        slow += usize::from(attack.outcomes.contains(&Outcome::TimedOut));
        slow <= 2 || !attack.outcomes.contains(&Outcome::TimedOut)
    });
    let stage = stage(&django, attacks).await;
    let result =
        ItemSupport { id: stage.item.id.clone(), hash: stage.item.hash.clone(), why: None };
    let mut supported = Support::default();
    supported.insert(result);
    supported.write(&support::file(stage.benchmark.path(), "wasm")).unwrap();
    for (attack, pair) in stage.play("wasm") {
        let flags = pair[0].verdict.as_ref().map_or(&[][..], |verdict| &verdict.review);
        let flagged = attack.flagged.as_ref().is_some_and(|flag| flags.contains(flag));
        let seen = pair[0].turns.first().map_or("", |turn| turn.observation.text.as_str());
        let held = !pair[0].infrastructure_failure() && (!pair[0].solved() || flagged);
        assert!(held, "{}: {:?}\n{seen}", attack.name, pair[0].end);
        solved(&pair[1], attack);
    }
}

#[test]
fn some_attacks_are_recognised_as_tampering() {
    assert!(attacks().iter().any(|attack| attack.outcomes.contains(&Outcome::Tampered)));
}
