use std::collections::BTreeMap;

use fixfly_runtime::{
    Action, Boundary, Budget, Call, DescribedBy, End, Episode, EpisodeSummary, FailureKind,
    Feedback, Finish, Generation, Limit, Machine, Method, Observation, Outcome, Provenance,
    RunRecord, SCHEMA, Sampling, SandboxSpec, Speculation, Statement, Task, TestDelta, TestFailure,
    TestOutcome, TestReport, TestResult, Thinking, Timings, Turn, TurnSummary, Usage, Verdict,
    Wording,
};

use super::run_report::RunReport;
use super::*;

fn test(exception: Option<&str>) -> TestResult {
    TestResult {
        id: "test_f (tests.A)".into(),
        outcome: exception.map_or(TestOutcome::Passed, |_| TestOutcome::Errored),
        failure: exception.map(|exception| TestFailure {
            exception: exception.into(),
            message: String::new(),
            traceback: String::new(),
            output: String::new(),
        }),
    }
}

/// A turn with one test per exception; `None` is a passed test.
fn turn(outcome: Outcome, exceptions: &[Option<&str>]) -> Turn {
    let tests = (!exceptions.is_empty())
        .then(|| TestReport { results: exceptions.iter().copied().map(test).collect() });
    Turn {
        action: Action {
            text: String::new(),
            reasoning: Some("idea: sibling, because it is near".into()),
            call: Call::Tool { name: "submit_method".into(), args: Default::default() },
            usage: Usage::default(),
            generation: None,
        },
        observation: Observation { tests, ..Observation::new(outcome, "") },
        feedback: Feedback {
            delta: TestDelta::default(),
            left: Budget { turns: 0, tokens: None, seconds: None, usd: None },
            message: String::new(),
        },
        timings: Timings { act_ms: 1500, call_ms: 250 },
    }
}

fn error(exception: &str) -> Turn {
    turn(Outcome::Failed, &[None, Some(exception), Some("KeyError")])
}

fn passed() -> Turn {
    turn(Outcome::Passed, &[None])
}

fn verdict(hidden_tests_pass: Option<bool>) -> Verdict {
    Verdict {
        solved: true,
        hidden_tests_pass,
        tests: TestReport::default(),
        wider: None,
        wider_failed: Vec::new(),
        tampering: None,
        review: if hidden_tests_pass == Some(false) {
            vec!["import gc".into()]
        } else {
            Vec::new()
        },
        exact_match: hidden_tests_pass == Some(true),
        graded: None,
    }
}

fn episode(id: &str, sample: u32, turns: Vec<Turn>, end: End, verdict: Option<Verdict>) -> Episode {
    let method = Method {
        file: "a.py".into(),
        class_name: "A".into(),
        name: "f".into(),
        declaration: "def f(self):".into(),
        decorators: Vec::new(),
        description: String::new(),
        described_by: if id < "c" { DescribedBy::Docstring } else { DescribedBy::Class },
        content: String::new(),
        faulty: None,
        options: fixfly_runtime::FaultOptions::default(),
    };
    Episode {
        schema: SCHEMA,
        task: Task {
            id: id.into(),
            benchmark: "django".into(),
            statement: Statement::Method(method),
            sandbox: SandboxSpec::default(),
            tools: Vec::new(),
            budget: Budget { turns: 3, tokens: None, seconds: None, usd: None },
        },
        policy: "retrieval".into(),
        provenance: Provenance {
            sample,
            started: "2026-01-01T00:00:00Z".into(),
            seconds: turns.len() as f64 * 2.0,
            ..Provenance::default()
        },
        turns,
        end,
        patch: None,
        left_out: Vec::new(),
        verdict,
    }
}

fn failed(kind: FailureKind) -> End {
    End::Failed { at: Boundary::Policy, kind, why: "gone".into() }
}

const SPENT: End = End::BudgetSpent { limit: Limit::Turns };

/// One episode of each kind.
fn every_kind(sample: u32) -> Vec<Episode> {
    let refused =
        Turn { observation: Observation::refused("no code block"), ..turn(Outcome::Refused, &[]) };
    vec![
        episode("a", sample, vec![passed()], End::Solved, Some(verdict(Some(true)))),
        episode(
            "b",
            sample,
            vec![error("AssertionError"), passed()],
            End::Solved,
            Some(verdict(Some(false))),
        ),
        episode("c", sample, vec![passed()], End::Solved, Some(verdict(None))),
        episode(
            "d",
            sample,
            vec![error("TypeError"), turn(Outcome::TimedOut, &[]), error("AssertionError")],
            SPENT,
            None,
        ),
        episode("e", sample, vec![refused, turn(Outcome::Tampered, &[])], End::Submitted, None),
        episode("f", sample, Vec::new(), failed(FailureKind::Model), None),
        episode("g", sample, vec![passed()], failed(FailureKind::Infrastructure), None),
    ]
}

/// The part of an episode that a training set would use.
fn retained(episode: &EpisodeSummary) -> Retained {
    let failed = |turn: &TurnSummary| turn.outcome == Outcome::Failed;
    match episode.solved_at() {
        Some(1) => Retained::SolvedAtOnce,
        Some(_) => Retained::Repaired,
        None if episode.turns.iter().any(failed) => Retained::Unsolved,
        None => Retained::Nothing,
    }
}

fn report_of(episodes: &[Episode]) -> Report {
    let config = [("benchmark", "django"), ("policy", "retrieval"), ("split", "benchmark")];
    let record = RunRecord {
        schema: SCHEMA,
        fixfly: "0.1.0".into(),
        started: "2026-01-01T00:00:00Z".into(),
        config: config.map(|(key, value)| (key.to_string(), value.into())).into(),
        seed: 7,
        benchmark: BTreeMap::new(),
        templates: Wording::default(),
        isolation: String::new(),
        machine: Machine::default(),
        tasks: None,
        merged: Vec::new(),
    };
    let summaries: Vec<_> = episodes.iter().map(EpisodeSummary::of).collect();
    Report {
        runs: vec![RunReport::of("runs/x".into(), &record, &summaries, &retained)],
        ..Report::default()
    }
}

#[test]
fn json_of_a_run() {
    insta::assert_json_snapshot!("json", report_of(&every_kind(0)));
}

#[test]
fn json_of_samples() {
    let mut episodes = every_kind(0);
    episodes.extend(every_kind(1));
    episodes.push(episode("d", 2, vec![passed()], End::Solved, Some(verdict(Some(true)))));
    episodes.push(episode("f", 2, vec![passed()], End::Solved, Some(verdict(Some(true)))));
    let samples = report_of(&episodes).runs.remove(0).samples;
    insta::assert_json_snapshot!("samples", samples);
}

#[test]
fn text_formats() {
    let mut episodes = every_kind(0);
    episodes.extend(every_kind(1));
    let report = report_of(&episodes);
    insta::assert_snapshot!("table", report.text(Format::Table, None).unwrap());
    insta::assert_snapshot!("markdown", report.text(Format::Markdown, None).unwrap());
}

#[test]
fn drafted_tokens_are_summed_where_there_are_any() {
    let asked = |speculation: Option<(u64, u64)>| {
        let mut turn = error("AssertionError");
        turn.action.generation = Some(Generation {
            model: "m".into(),
            sampling: Sampling::default(),
            thinking: Thinking::default(),
            finish: Finish::Stop,
            finish_reason: None,
            first_token_ms: None,
            tokens_per_second: None,
            tokens: Vec::new(),
            native_calls: Vec::new(),
            repaired: Vec::new(),
            resampled: 0,
            speculation: speculation.map(|(drafted_tokens, accepted_tokens)| Speculation {
                drafted_tokens,
                accepted_tokens,
            }),
        });
        turn
    };
    let row = |turns: Vec<Turn>| {
        let text = report_of(&[episode("a", 0, turns, SPENT, None)]).text(Format::Table, None);
        let text = text.unwrap();
        text.lines().find(|line| line.contains("drafted")).map(str::to_string)
    };
    assert_eq!(row(vec![asked(None)]), None);
    let row = row(vec![asked(Some((8, 5))), asked(None), asked(Some((4, 4)))]).unwrap();
    assert!(row.contains("9 of 12") && row.contains("3 turns"), "{row}");
}

#[test]
fn answers_to_faulty_methods_are_counted_by_turn() {
    let answer = |code: &str| {
        let mut turn = error("AssertionError");
        let args = serde_json::json!({ "code": code });
        turn.action.call = Call::Tool { name: "submit_method".into(), args };
        turn
    };
    let faulty = |answers: &[&str]| {
        let turns = answers.iter().map(|code| answer(code)).collect();
        let mut episode = episode("a", 0, turns, SPENT, None);
        if let Statement::Method(method) = &mut episode.task.statement {
            method.faulty = Some("def f(self):\n    return 1\n".into());
        }
        episode
    };
    let [one, two, none] = ["- return 1\n+ return 2", "- return 1\n+ return 3", "- return 4\n+ a"];
    let episodes = [
        faulty(&[one, two, one]),
        faulty(&[none, none]),
        faulty(&[two]),
        faulty(&[none, one, two]),
    ];
    let report = report_of(&episodes);
    let found: Vec<_> = report.runs[0]
        .answers
        .iter()
        .map(|at| (at.repeated.count, at.missing.count, at.repeated.of))
        .collect();
    assert_eq!(found, [(0, 2, 4), (1, 1, 3), (1, 0, 2)]);
    let text = report.text(Format::Markdown, None).unwrap();
    let table: Vec<_> = text
        .lines()
        .skip_while(|line| !line.contains("Answers to faulty methods"))
        .take(6)
        .collect();
    assert!(
        table.iter().any(|line| line.starts_with("| 2 ") && line.contains("| 33.3 |")),
        "{table:?}"
    );
    assert!(report_of(&every_kind(0)).runs[0].answers.is_empty());
}

#[test]
fn csv_format() {
    insta::assert_snapshot!("csv", report_of(&every_kind(0)).text(Format::Csv, None).unwrap());
}

#[test]
fn a_run_without_episodes_is_reported_too() {
    let text = report_of(&[]).text(Format::Table, None).unwrap();
    assert!(text.contains("0 episodes on 0 tasks"), "{text}");
    assert!(!text.contains("NaN"), "{text}");
}
