//! What every policy must do, and what retrieval must never do.

use std::sync::Arc;

use async_trait::async_trait;
use fixfly_policies::{ALL, Open, Sources};
use fixfly_runtime::{
    Action, Answer, Benchmark, BenchmarkError, Budget, Call, DescribedBy, End, Episode, Example,
    Feedback, GroundTruth, Limit, LocalModel, Method, Observation, Outcome, Policy, PolicyError,
    Provenance, SCHEMA, Sandbox, SandboxSpec, Settings, Split, Statement, Task, TaskKind,
    Templates, TestDelta, TestFailure, TestOutcome, TestReport, TestResult, Timings, Turn, Verdict,
    View, find,
};
use ruff_python_ast::{PySourceType, Stmt};

const CONTENT: &str = "\
import re


class Circle:
    def __init__(self, radius):
        self.radius = radius

    def __eq__(self, other):
        return isinstance(other, Circle) and self.radius == other.radius


class Square:
    def __init__(self, side):
        self.side = side
";
const DECLARATION: &str = "def __eq__(self, other):";
const TRUTH: &str =
    "def __eq__(self, other):\n    return isinstance(other, Square) and self.side == other.side\n";
const STUB: &str = "def __eq__(self, other):\n    raise NotImplementedError\n";

fn method() -> Method {
    Method {
        file: "shapes.py".into(),
        class_name: "Square".into(),
        name: "__eq__".into(),
        declaration: DECLARATION.into(),
        decorators: Vec::new(),
        description: "Squares of one side are equal.".into(),
        described_by: DescribedBy::Docstring,
        content: CONTENT.into(),
        faulty: None,
        options: fixfly_runtime::FaultOptions::default(),
    }
}

fn task() -> Task {
    Task {
        id: "shapes.py::Square.__eq__".into(),
        benchmark: "shapes".into(),
        statement: Statement::Method(method()),
        sandbox: SandboxSpec::default(),
        tools: vec!["submit_method".into()],
        budget: Budget { turns: 5, tokens: None, seconds: None, usd: None },
    }
}

fn example() -> Example {
    let method = Method {
        file: "lines.py".into(),
        class_name: "Line".into(),
        content: String::new(),
        faulty: None,
        options: fixfly_runtime::FaultOptions::default(),
        ..method()
    };
    let source = "def __eq__(self, other):\n    return self.length == other.length\n";
    Example { id: "lines.py::Line.__eq__".into(), method, source: source.into() }
}

struct Shapes;

#[async_trait]
impl Benchmark for Shapes {
    async fn tasks(&self, _: Split) -> Result<Vec<Task>, BenchmarkError> {
        Ok(vec![task()])
    }

    async fn judge(&self, _: &Task, _: &str, _: &dyn Sandbox) -> Result<Verdict, BenchmarkError> {
        Err(BenchmarkError::Broken("no tests run here".into()))
    }

    fn facts(&self) -> std::collections::BTreeMap<String, String> {
        std::collections::BTreeMap::new()
    }

    fn ground_truth(&self) -> &dyn GroundTruth {
        self
    }
}

impl GroundTruth for Shapes {
    fn examples(&self) -> Result<Vec<Example>, BenchmarkError> {
        Ok(vec![example()])
    }

    fn answer(&self, _: &Task, answer: Answer) -> Result<String, BenchmarkError> {
        Ok(match answer {
            Answer::Truth => TRUTH.into(),
            Answer::Stub => STUB.into(),
        })
    }

    fn wrong_answers(&self, _: &Task) -> Result<Vec<String>, BenchmarkError> {
        Ok(["radius", "length", "width"].map(|name| TRUTH.replace("side", name)).to_vec())
    }
}

fn recorded() -> Episode {
    let args = serde_json::json!({ "code": TRUTH });
    let call = Call::Tool { name: "submit_method".into(), args };
    let action = Action {
        text: format!("```python\n{TRUTH}```\n"),
        reasoning: None,
        call,
        usage: Default::default(),
        generation: None,
    };
    Episode {
        schema: SCHEMA,
        task: task(),
        policy: "recorded".into(),
        provenance: Provenance::default(),
        turns: vec![failed(action)],
        end: End::BudgetSpent { limit: Limit::Turns },
        patch: None,
        left_out: Vec::new(),
        verdict: None,
    }
}

fn open(policy: &Open) -> Box<dyn Policy> {
    match policy {
        Open::Examples(open) => open(vec![example()]),
        Open::Answers(open) | Open::WrongAnswers(open) => open(Arc::new(Shapes)),
        Open::Episodes(open) => open(vec![recorded()]),
        Open::Model(_) => unreachable!("asks a model"),
    }
}

/// A turn whose test failed because a square has no radius.
fn failed(action: Action) -> Turn {
    let failure = TestFailure {
        exception: "AttributeError".into(),
        message: "'Square' object has no attribute 'radius'".into(),
        traceback: String::new(),
        output: String::new(),
    };
    let result =
        TestResult { id: "equal".into(), outcome: TestOutcome::Errored, failure: Some(failure) };
    let tests = Some(TestReport { results: vec![result] });
    Turn {
        action,
        observation: Observation { tests, ..Observation::new(Outcome::Failed, "AttributeError") },
        feedback: Feedback {
            delta: TestDelta::default(),
            left: Budget { turns: 4, tokens: None, seconds: None, usd: None },
            message: String::new(),
        },
        timings: Timings::default(),
    }
}

async fn act(policy: &dyn Policy, turns: &[Turn], sample: u32) -> Result<Action, PolicyError> {
    let (task, templates) =
        (task(), Templates::load(TaskKind::Method, None).expect("the built-in templates load"));
    policy
        .act(View { task: &task, tools: &[], turns, templates: &templates, sample, seed: 7 })
        .await
}

fn code(action: &Action) -> &str {
    let Call::Tool { name, args } = &action.call else { panic!("no tool is called: {action:?}") };
    assert_eq!(name, "submit_method");
    args["code"].as_str().expect("the code is a text")
}

#[track_caller]
fn check_is_the_method(code: &str) {
    assert!(code.starts_with(DECLARATION), "another declaration:\n{code}");
    let parsed = ruff_python_parser::parse_unchecked_source(code, PySourceType::Python);
    assert!(parsed.has_valid_syntax(), "{code}");
    assert!(matches!(&parsed.suite()[..], [Stmt::FunctionDef(_)]), "{code}");
}

#[tokio::test]
async fn every_policy_answers_with_the_method_and_always_the_same() {
    // A model's answer depends on the model.
    for entry in ALL.iter().filter(|entry| !matches!(entry.open, Open::Model(_))) {
        let action = act(&*open(&entry.open), &[], 0).await.unwrap();
        check_is_the_method(code(&action));
        assert_eq!(action, act(&*open(&entry.open), &[], 0).await.unwrap(), "{}", entry.name);
    }
}

#[tokio::test]
async fn the_oracle_knows_and_the_null_policy_does_not() {
    for (name, answer) in [("oracle", TRUTH), ("null", STUB)] {
        let policy = open(&find("policy", ALL, name).unwrap().open);
        let first = act(&*policy, &[], 0).await.unwrap();
        assert_eq!(code(&first), answer);
        let again = act(&*policy, &[failed(first.clone())], 0).await.unwrap();
        assert_eq!(again, first);
    }
}

#[tokio::test]
async fn a_replay_ends_with_its_recording_and_plays_no_other() {
    let policy = open(&find("policy", ALL, "replay").unwrap().open);
    let action = act(&*policy, &[], 0).await.unwrap();
    let after = act(&*policy, &[failed(action)], 0).await.unwrap();
    assert_eq!(after.call, Call::Submit);
    let error = act(&*policy, &[], 1).await.unwrap_err();
    assert!(matches!(error, PolicyError::Infrastructure(_)));
    assert!(error.to_string().contains("sample 1 of shapes.py::Square.__eq__"), "{error}");
}

#[tokio::test]
async fn mutants_gives_different_wrong_answers_and_stops() {
    let policy = open(&find("policy", ALL, "mutants").unwrap().open);
    let (mut turns, mut codes): (Vec<Turn>, Vec<String>) = (Vec::new(), Vec::new());
    loop {
        let action = act(&*policy, &turns, 0).await.unwrap();
        if action.call == Call::Submit {
            break;
        }
        check_is_the_method(code(&action));
        assert!(code(&action) != TRUTH && !codes.contains(&code(&action).to_string()));
        codes.push(code(&action).to_string());
        turns.push(failed(action));
    }
    assert!((1..=3).contains(&codes.len()), "{codes:?}");
}

#[test]
fn mutants_is_for_the_training_split_only() {
    let benchmark: Arc<dyn Benchmark> = Arc::new(Shapes);
    let opened = |split| {
        let sources = Sources { split, ..Sources::default() };
        fixfly_policies::open("mutants", &benchmark, sources)
    };
    assert!(opened(Some(Split::Train)).is_ok());
    for split in [None, Some(Split::Validation), Some(Split::Benchmark)] {
        let why = opened(split).err().unwrap().to_string();
        assert!(why.ends_with("run it with --split train"), "{why}");
    }
}

#[tokio::test]
async fn retrieval_never_repeats_an_answer() {
    let policy = open(&find("policy", ALL, "retrieval").unwrap().open);
    for sample in 0..3 {
        let mut turns: Vec<Turn> = Vec::new();
        for _ in 0..5 {
            let action = act(&*policy, &turns, sample).await.unwrap();
            check_is_the_method(code(&action));
            assert!(!code(&action).contains("NotImplementedError"));
            assert!(action.reasoning.as_ref().unwrap().starts_with("idea: "));
            let same = |turn: &Turn| code(&turn.action) == code(&action);
            assert!(!turns.iter().any(same), "proposed before:\n{}", code(&action));
            turns.push(failed(action));
        }
    }
}

#[tokio::test]
async fn retrieval_puts_a_sibling_into_the_words_of_the_class() {
    let policy = open(&find("policy", ALL, "retrieval").unwrap().open);
    let action = act(&*policy, &[], 0).await.unwrap();
    assert_eq!(code(&action), TRUTH);
}

#[cfg(feature = "openai")]
#[test]
fn a_server_cannot_be_held_to_answers() {
    let openai = find("policy", ALL, "openai").unwrap();
    let Open::Model(open) = openai.open else { panic!("it asks a model") };
    let local = |answer_grammar, distinct_answers| LocalModel {
        answer_grammar,
        distinct_answers,
        ..LocalModel::default()
    };
    for (local, flag) in
        [(local(true, false), "--answer-grammar"), (local(false, true), "--distinct-answers")]
    {
        let settings = Settings { model: Some("m".into()), local, ..Settings::default() };
        let expected = format!(
            "{flag} needs --policy llama, because a server chooses the tokens itself: remove {flag}"
        );
        assert_eq!(open(&settings).err(), Some(expected));
    }
}
