//! Hostile candidates through the real binary: none may be called solved, be
//! blamed on the machine, outlive its run, or touch the candidate after it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;

mod attacks;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use attacks::{Attack, attacks};
use common::Django;
#[cfg(feature = "wasm")]
use fixfly_benchmarks::Item;
use fixfly_benchmarks::RunPath;
#[cfg(feature = "wasm")]
use fixfly_benchmarks::fits::{self, Fit, Fits};
use fixfly_runtime::{
    Action, Answer, Benchmark, Budget, Call, End, Episode, Feedback, Machine, Observation, Outcome,
    Provenance, RunDirectory, RunRecord, SCHEMA, Split, Task, TestDelta, Timings, Turn, Usage,
    Wording, read_episodes,
};
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
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
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
    let expected = attack.outcomes.contains(&seen.outcome) && seen.text.contains(&attack.says);
    let flags = episode.verdict.as_ref().map_or(&[][..], |verdict| &verdict.review);
    let believed = match &attack.flagged {
        // A person is told of it.
        Some(flag) => episode.solved() && !flags.contains(flag),
        None => episode.solved(),
    };
    if !believed && !episode.infrastructure_failure() && expected {
        return None;
    }
    let end = &episode.end;
    Some(format!("== {}: {end:?}, {:?}\n{}", attack.name, seen.outcome, seen.text))
}

/// The sandboxes in which the test server runs here; others are named.
async fn sandboxes() -> Vec<&'static str> {
    let mut found = Vec::new();
    for entry in fixfly_sandboxes::ALL.iter().filter(|entry| entry.name != "wasm") {
        let parts = (entry.open)().unwrap().parts().await;
        match parts.iter().find(|part| part.cost == "there is no sandbox" && part.by.is_none()) {
            None => found.push(entry.name),
            Some(part) => eprintln!("skipped `{}`: {}", entry.name, part.mend),
        }
    }
    found
}

/// What the attacks are played on, and the word by which what they start is known.
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
    let head = "def parse_header_name(cls, header):\n";
    let codes: Vec<String> = attacks
        .iter()
        .flat_map(|attack| {
            let body = attack.body.replace("PORT", &port).replace("MARK", &mark);
            let body: String = body.lines().map(|line| format!("    {line}\n")).collect();
            [format!("{head}{body}"), truth.clone()]
        })
        .collect();
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
    /// All of them in one sandbox.
    fn play(&self, sandbox: &str) -> Vec<Episode> {
        let codes = 2 * self.attacks.len();
        let episodes = play(self.benchmark.path(), self.recorded.path(), codes, sandbox);
        assert_eq!(marked(&self.mark), 0, "processes are left");
        assert_eq!(episodes.len(), codes);
        episodes
    }
}

#[tokio::test]
async fn no_attack_is_solved_or_hurts_the_next_candidate() {
    let Some(django) = Django::here() else { return };
    let stage = stage(&django, attacks()).await;
    let attacks = &stage.attacks;
    let mut faults = Vec::new();
    for sandbox in sandboxes().await {
        let episodes = stage.play(sandbox);
        for (attack, pair) in attacks.iter().zip(episodes.chunks(2)) {
            faults.extend(fault(attack, &pair[0]).map(|fault| format!("{sandbox} {fault}")));
            if !pair[1].solved() {
                let seen = pair[1].turns.first().map_or("", |turn| turn.observation.text.as_str());
                let end = &pair[1].end;
                faults.push(format!("== {sandbox}, after {}: {end:?}\n{seen}", attack.name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(attacks.iter().any(|attack| attack.outcomes.contains(&Outcome::Tampered)));
}

/// In WebAssembly most attacks fail for lack of what they attack with. Those
/// that only use up time are played by a few: each takes all it may.
#[cfg(feature = "wasm")]
#[tokio::test]
async fn no_attack_is_solved_in_wasm_or_hurts_the_next_candidate() {
    let Some(django) = Django::here() else { return };
    let mut attacks = attacks();
    let mut slow = 0;
    attacks.retain(|attack| {
        slow += usize::from(attack.outcomes.contains(&Outcome::TimedOut));
        slow <= 2 || !attack.outcomes.contains(&Outcome::TimedOut)
    });
    let stage = stage(&django, attacks).await;
    let fit = Fit { id: stage.item.id.clone(), hash: stage.item.hash.clone(), why: None };
    let mut fits = Fits::default();
    fits.insert(fit);
    fits.write(&fits::file(stage.benchmark.path(), "wasm")).unwrap();
    let mut faults = Vec::new();
    for (attack, pair) in stage.attacks.iter().zip(stage.play("wasm").chunks(2)) {
        let flags = pair[0].verdict.as_ref().map_or(&[][..], |verdict| &verdict.review);
        let told = attack.flagged.as_ref().is_some_and(|flag| flags.contains(flag));
        let seen = |episode: &Episode| {
            let text = episode.turns.first().map_or("", |turn| turn.observation.text.as_str());
            format!("{:?}\n{text}", episode.end)
        };
        if pair[0].infrastructure_failure() || pair[0].solved() && !told {
            faults.push(format!("== {}: {}", attack.name, seen(&pair[0])));
        }
        if !pair[1].solved() {
            faults.push(format!("== after {}: {}", attack.name, seen(&pair[1])));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
