//! Runs for tests.

use std::path::Path;
use std::sync::Arc;

use fixfly_runtime::{
    Action, Budget, Call, DescribedBy, End, Episode, FaultOptions, Feedback, Finish, Generation,
    Limit, Machine, Method, Observation, Outcome, Provenance, RunDirectory, RunRecord, SCHEMA,
    Sampling, SandboxSpec, Statement, Task, TestDelta, TestFailure, TestOutcome, TestReport,
    TestResult, Thinking, Timings, Turn, Usage, Verdict, Wording,
};
use serde_json::json;

use super::site::Site;
use super::sources::{DatasetRows, Prompt, Sources};

/// Sources that have nothing.
pub(crate) struct Nothing;

impl Sources for Nothing {
    fn original(&self, _: &Path, _: &RunRecord, _: &Task) -> Result<String, String> {
        Err("the benchmark is not here".into())
    }

    fn prompt(&self, _: &Path, _: &RunRecord, _: &Episode, _: usize) -> Result<Prompt, String> {
        Err("the tokenizer is not here".into())
    }

    fn dataset(&self, _: &Path) -> Result<Box<dyn DatasetRows>, String> {
        Err("the dataset is not here".into())
    }
}

pub(crate) fn record() -> RunRecord {
    let config = json!({
        "benchmark": "django", "split": "benchmark", "policy": "openai", "samples": 1,
        "limit": null, "only": null, "sandbox": "local", "model": { "model": "qwen3-8b" },
    });
    RunRecord {
        schema: SCHEMA,
        fixfly: "0.1.0".into(),
        started: "2026-01-01T00:00:00Z".into(),
        config: config.as_object().unwrap().clone().into_iter().collect(),
        seed: 7,
        benchmark: [("tasks".to_string(), 3.into())].into(),
        templates: Wording::default(),
        isolation: "local: namespaces".into(),
        machine: Machine {
            os: "Debian GNU/Linux 12 (bookworm)".into(),
            kernel: "6.1".into(),
            cpus: 2,
            memory_mb: 8000,
            python: "Python 3.11.2".into(),
        },
        tasks: None,
        merged: Vec::new(),
    }
}

fn turn(outcome: Outcome, exception: Option<&str>, asked: bool) -> Turn {
    let failure = exception.map(|exception| TestFailure {
        exception: exception.into(),
        message: "it failed".into(),
        traceback: String::new(),
        output: String::new(),
    });
    let failed = failure.is_some();
    let test = TestResult {
        id: "test_f (tests.A)".into(),
        outcome: if failed { TestOutcome::Errored } else { TestOutcome::Passed },
        failure,
    };
    let code = json!({ "code": "def f(self):\n    return 1\n" });
    Turn {
        action: Action {
            text: "def f(self): ...".into(),
            reasoning: asked.then(|| "idea: sibling, because it is near".into()),
            call: Call::Tool { name: "submit_method".into(), args: code },
            usage: Usage {
                prompt_tokens: if asked { 1000 } else { 0 },
                completion_tokens: if asked { 200 } else { 0 },
                usd: asked.then_some(0.01),
                ..Usage::default()
            },
            generation: asked.then(generation),
        },
        observation: Observation {
            tests: Some(TestReport { results: vec![test] }),
            ..Observation::new(outcome, "what the tests printed")
        },
        feedback: Feedback {
            delta: TestDelta::default(),
            left: Budget { turns: 0, tokens: None, seconds: None, usd: None },
            message: String::new(),
        },
        timings: Timings { act_ms: 1500, call_ms: 250 },
    }
}

fn generation() -> Generation {
    Generation {
        model: "qwen3-8b".into(),
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
        speculation: None,
    }
}

fn passing(asked: bool) -> Turn {
    turn(Outcome::Passed, None, asked)
}

fn failing(exception: &str) -> Turn {
    turn(Outcome::Failed, Some(exception), true)
}

pub(crate) fn episode(file: &str, method: &str, turns: Vec<Turn>) -> Episode {
    let solved = turns.last().is_some_and(|turn| turn.observation.outcome == Outcome::Passed);
    let statement = Method {
        file: file.into(),
        class_name: "A".into(),
        name: "f".into(),
        declaration: "def f(self):".into(),
        decorators: Vec::new(),
        description: "Return the price.".into(),
        described_by: DescribedBy::Docstring,
        content: "class A:\n    def f(self):\n        raise NotImplementedError\n".into(),
        faulty: None,
        options: FaultOptions::default(),
    };
    let verdict = Verdict { solved: true, hidden_tests_pass: Some(true), ..Verdict::default() };
    Episode {
        schema: SCHEMA,
        task: Task {
            id: format!("{file}::{method}"),
            benchmark: "django".into(),
            statement: Statement::Method(statement),
            sandbox: SandboxSpec::default(),
            tools: vec!["submit_method".into()],
            budget: Budget { turns: 3, tokens: None, seconds: None, usd: None },
        },
        policy: "openai".into(),
        provenance: Provenance {
            started: "2026-01-01T00:00:00Z".into(),
            seconds: turns.len() as f64 * 2.0,
            ..Provenance::default()
        },
        end: match solved {
            true => End::Solved,
            false => End::BudgetSpent { limit: Limit::Turns },
        },
        turns,
        patch: solved.then(|| "--- a\n+++ b\n".into()),
        left_out: Vec::new(),
        verdict: solved.then_some(verdict),
    }
}

/// One solved at once without a model, one solved at the second turn, one unsolved.
pub(crate) fn episodes() -> Vec<Episode> {
    vec![
        episode("app/b.py", "B.g", vec![passing(false)]),
        episode("app/a.py", "A.f", vec![failing("TypeError"), passing(true)]),
        episode(
            "lib/c.py",
            "C.h",
            vec![
                failing("TypeError"),
                turn(Outcome::Invalid, None, true),
                failing("AssertionError"),
            ],
        ),
    ]
}

/// As many different episodes.
pub(crate) fn many(count: usize) -> Vec<Episode> {
    let kinds = episodes();
    let one = |at: usize| {
        let mut episode = kinds[at % kinds.len()].clone();
        episode.task.id = format!("app/f{}.py::C.m{at}", at % 90);
        episode
    };
    (0..count).map(one).collect()
}

/// An episode whose texts attack the page.
pub(crate) fn hostile() -> Episode {
    let attack = "<script>alert(1)</script>\"'\u{202e}\u{1b}]52;c;eA==\u{7}";
    let mut episode = episode(attack, attack, vec![failing(attack)]);
    episode.turns[0].action.text = attack.into();
    episode.turns[0].action.reasoning = Some(format!("idea: {attack}"));
    episode.turns[0].observation.text = attack.into();
    episode.policy = attack.into();
    episode
}

pub(crate) fn write_run(folder: &Path, record: &RunRecord, episodes: &[Episode]) {
    std::fs::create_dir_all(folder).unwrap();
    let (mut run, _) = RunDirectory::open(folder, record).unwrap();
    for episode in episodes {
        run.append(episode).unwrap();
    }
}

pub(crate) fn site(folder: &Path) -> Site {
    let mut site = Site::open(&[folder.to_path_buf()], Box::new(Nothing)).unwrap();
    site.now = || "2026-01-01T05:00:00Z".parse().unwrap();
    site
}

pub(crate) fn shared_site(folder: &Path) -> Arc<Site> {
    Arc::new(site(folder))
}
