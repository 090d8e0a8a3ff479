use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::budget::Budget;
use crate::episode::Verdict;
use crate::sandbox::{Command, Output, Process, Sandbox, SandboxError};
use crate::statement::{DescribedBy, FaultOptions, Method, Statement};
use crate::test_report::{TestOutcome, TestReport, TestResult};
use crate::turn::{Observation, Outcome};

mod session;

/// A benchmark whose candidates are the words of what happens to them.
#[derive(Default)]
struct Scripted {
    evaluations: AtomicUsize,
    judged: Mutex<Vec<String>>,
    no_evaluator: bool,
}

fn infrastructure<T>() -> Result<T, BenchmarkError> {
    Err(SandboxError::Open("the disk is full".into()).into())
}

/// The results of the tests `a` and `b`.
fn report(passed: [bool; 2]) -> TestReport {
    let result = |(id, passed): (&str, bool)| {
        let outcome = if passed { TestOutcome::Passed } else { TestOutcome::Failed };
        TestResult { id: id.into(), outcome, failure: None }
    };
    TestReport { results: ["a", "b"].into_iter().zip(passed).map(result).collect() }
}

#[async_trait]
impl Benchmark for Scripted {
    async fn tasks(&self, split: Split) -> Result<Vec<Task>, BenchmarkError> {
        let ids = match split {
            Split::Train => &["t", "unsupported"][..],
            Split::Validation => &[],
            Split::Benchmark => &["x", "y"],
        };
        Ok(ids.iter().map(|id| task(id)).collect())
    }

    fn evaluator(&self) -> Option<&dyn Evaluator> {
        (!self.no_evaluator).then_some(self)
    }

    async fn judge(
        &self,
        _: &Task,
        candidate: &str,
        _: &dyn Sandbox,
    ) -> Result<Verdict, BenchmarkError> {
        self.judged.lock().unwrap().push(candidate.into());
        let solved = candidate.contains("pass");
        Ok(Verdict {
            solved,
            hidden_tests_pass: solved.then_some(false),
            tests: report([solved, true]),
            tampering: candidate.contains("cheats").then(|| "a control failed".into()),
            review: vec!["reads frames".into()],
            ..Verdict::default()
        })
    }

    fn unsupported(&self, task: &Task, sandbox: &str) -> Option<String> {
        (task.id == "unsupported").then(|| format!("{sandbox} is too small"))
    }

    fn facts(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn ground_truth(&self) -> &dyn crate::GroundTruth {
        unreachable!("not used")
    }
}

#[async_trait]
impl Evaluator for Scripted {
    async fn evaluate(
        &self,
        _: &Task,
        candidate: &str,
        _: &dyn Sandbox,
    ) -> Result<Observation, BenchmarkError> {
        let earlier = self.evaluations.fetch_add(1, Ordering::SeqCst);
        let words: Vec<&str> = candidate.split_whitespace().collect();
        if let Some(milliseconds) = words.get(1).and_then(|word| word.parse().ok()) {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
        let tests = match words[0] {
            "breaks" => return infrastructure(),
            "breaks-first" if earlier == 0 => return infrastructure(),
            "panics" => panic!("a bug"),
            "never" => std::future::pending().await,
            "invalid" => return Ok(Observation::invalid("It is no method.")),
            "half" => report([true, false]),
            "fail" => report([false, false]),
            _ => report([true, true]),
        };
        let outcome = if tests.passed() { Outcome::Passed } else { Outcome::Failed };
        let candidate = Some(candidate.to_string());
        Ok(Observation { tests: Some(tests), candidate, ..Observation::new(outcome, "It ran.") })
    }

    fn patch(&self, _: &Task, _: &str) -> Result<String, BenchmarkError> {
        unreachable!("an answer has no patch")
    }
}

/// Sandboxes in which nothing runs.
struct Place;

#[async_trait]
impl Host for Place {
    async fn open(&self, _: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        Ok(Box::new(Place))
    }

    fn isolation(&self) -> String {
        "none".into()
    }
}

#[async_trait]
impl Sandbox for Place {
    async fn exec(&self, _: &Command) -> Result<Output, SandboxError> {
        unreachable!("not used")
    }

    async fn spawn(&self, _: &str, _: &Command) -> Result<Arc<dyn Process>, SandboxError> {
        unreachable!("not used")
    }

    async fn read(&self, _: &str) -> Result<Vec<u8>, SandboxError> {
        unreachable!("not used")
    }

    async fn write(&self, _: &str, _: &[u8]) -> Result<(), SandboxError> {
        unreachable!("not used")
    }

    async fn close(self: Box<Self>) -> Result<(), SandboxError> {
        Ok(())
    }
}

fn task(id: &str) -> Task {
    let method = Method {
        file: "a.py".into(),
        class_name: "A".into(),
        name: "f".into(),
        declaration: "def f(self):".into(),
        decorators: Vec::new(),
        description: String::new(),
        described_by: DescribedBy::Nothing,
        content: "the file".into(),
        faulty: None,
        options: FaultOptions::default(),
    };
    Task {
        id: id.into(),
        benchmark: "b".into(),
        statement: Statement::Method(method),
        sandbox: SandboxSpec::default(),
        tools: vec!["submit_method".into()],
        budget: Budget { turns: 1, tokens: None, seconds: None, usd: None },
    }
}

fn options() -> JudgeOptions {
    JudgeOptions {
        sandbox: "s".into(),
        split: None,
        jobs: 1,
        ordered: false,
        confirm: false,
        allow_weak: false,
    }
}

async fn judge(benchmark: Arc<Scripted>, options: JudgeOptions) -> Judge {
    Judge::open(benchmark, Arc::new(Place), options).await.unwrap()
}

/// A judge of no tasks.
pub(super) async fn judge_of_nothing() -> Judge {
    let validation = JudgeOptions { split: Some(Split::Validation), ..options() };
    judge(Arc::default(), validation).await
}

fn line(task: &str, candidate: &str) -> Vec<u8> {
    json!({ "task": task, "candidate": candidate }).to_string().into_bytes()
}

/// The answers to these lines, in their order, and the counts.
async fn answers(
    benchmark: Arc<Scripted>,
    options: JudgeOptions,
    lines: Vec<Vec<u8>>,
) -> (Vec<JudgeAnswer>, JudgeCounts) {
    let judge = judge(benchmark, options).await;
    let (input, receiver) = mpsc::channel(lines.len());
    for line in lines {
        input.send(line).await.unwrap();
    }
    drop(input);
    let (sender, mut output) = mpsc::channel(1);
    let mut none = Interrupts::none();
    let reader = async {
        let mut all = Vec::new();
        while let Some(answer) = output.recv().await {
            all.push(answer);
        }
        all
    };
    let (counts, all) = tokio::join!(judge.serve(receiver, sender, &mut none), reader);
    (all, counts)
}

/// The answers to candidates of tasks, in brief.
async fn check(options: JudgeOptions, lines: &[(&str, &str)], expected: &[&str]) {
    let lines = lines.iter().map(|(task, candidate)| line(task, candidate)).collect();
    let (all, _) = answers(Arc::default(), options, lines).await;
    assert_eq!(all.iter().map(brief).collect::<Vec<_>>(), expected);
}

fn brief(answer: &JudgeAnswer) -> String {
    let solved = answer.solved.map_or("unknown", |solved| if solved { "solved" } else { "not" });
    let outcome = answer.outcome.map_or("-", Outcome::name);
    let confirmed = if answer.confirmed { " confirmed" } else { "" };
    let tests =
        answer.tests.as_ref().map_or(String::new(), |t| format!(" {}/{}", t.passed, t.total));
    let of = |what: &str, ids: &Option<Vec<String>>| match ids {
        Some(ids) if !ids.is_empty() => format!(" {what} {}", ids.join(",")),
        _ => String::new(),
    };
    let (fixed, broken) = (of("fixed", &answer.fixed), of("broken", &answer.broken));
    format!("{} {solved}{confirmed}: {outcome}{tests}{fixed}{broken}", answer.line)
}

#[tokio::test]
async fn candidates_are_judged_and_compared_with_the_one_before() {
    let lines = [
        ("x", "half"),
        ("x", "fail"),
        ("y", "pass"),
        ("x", "invalid"),
        ("x", "pass"),
        ("x", "cheats"),
        ("x", "lucky"),
        ("y", "half"),
    ];
    let expected = [
        "1 not: failed 1/2",
        "2 not: failed 0/2 broken a",
        "3 solved confirmed: passed 2/2",
        "4 not: invalid",
        "5 solved confirmed: passed 2/2 fixed a,b",
        "6 not confirmed: tampered 1/2 broken a",
        "7 not confirmed: failed 1/2",
        "8 not: failed 1/2 broken b",
    ];
    check(options(), &lines, &expected).await;
}

#[tokio::test]
async fn the_benchmark_judges_every_candidate_if_asked() {
    let confirm = JudgeOptions { confirm: true, ..options() };
    let lines = [("x", "half"), ("x", "half pass"), ("x", "invalid"), ("x", "cheats")];
    let expected = [
        "1 not confirmed: failed 1/2",
        "2 solved confirmed: passed 2/2 fixed b",
        "3 not: invalid",
        "4 not confirmed: tampered 1/2 broken a",
    ];
    check(confirm, &lines, &expected).await;
}

#[tokio::test]
async fn the_feedback_is_what_a_policy_sees() {
    let lines = ["half", "fail", "pass"].map(|candidate| line("x", candidate)).into();
    let (all, counts) = answers(Arc::default(), options(), lines).await;
    let feedback: Vec<_> = all.iter().map(|answer| answer.feedback.as_deref()).collect();
    let expected = [
        Some("Fix the answer: it did not pass.\nTEST_RESULT:\nIt ran."),
        Some(
            "Fix the answer: it did not pass.\nSince the last attempt: broken 1: a; still \
             failing 1: b.\nTEST_RESULT:\nIt ran.",
        ),
        None,
    ];
    assert_eq!(feedback, expected);
    let last = &all[2];
    assert_eq!(
        (last.hidden_tests_pass, &*last.review),
        (Some(false), &["reads frames".into()][..])
    );
    assert_eq!(counts.to_string(), "3 candidates: 1 solved, 2 not solved");
    assert!(counts.is_complete());
}

#[tokio::test]
async fn the_method_is_found_in_an_answer() {
    let benchmark = Arc::new(Scripted::default());
    let answer = "I pass:\n```python\ndef f(self):\n    return 'pass'\n```\nDone.";
    answers(benchmark.clone(), options(), vec![line("x", answer)]).await;
    assert_eq!(*benchmark.judged.lock().unwrap(), ["def f(self):\n    return 'pass'\n"]);
}

#[tokio::test]
async fn an_infrastructure_failure_is_retried_and_then_unknown() {
    let benchmark = Arc::new(Scripted::default());
    let lines = vec![line("x", "breaks-first pass"), line("x", "breaks"), line("x", "half")];
    let (all, counts) = answers(benchmark.clone(), options(), lines).await;
    let expected = ["1 solved confirmed: passed 2/2", "2 unknown: -", "3 not: failed 1/2 broken b"];
    assert_eq!(all.iter().map(brief).collect::<Vec<_>>(), expected);
    let why = all[1].infrastructure.as_deref();
    assert_eq!(why, Some("the sandbox could not be opened: the disk is full"));
    assert_eq!(benchmark.evaluations.load(Ordering::SeqCst), 2 + 3 + 1);
    assert_eq!(counts.to_string(), "3 candidates: 1 solved, 1 not solved, 1 unknown");
    assert!(!counts.is_complete());
}

#[tokio::test]
async fn a_bug_costs_one_candidate_its_verdict() {
    let lines = vec![line("x", "panics"), line("x", "pass")];
    let (all, counts) = answers(Arc::default(), options(), lines).await;
    assert_eq!((all[0].solved, all[1].solved), (None, Some(true)));
    let why = all[0].infrastructure.as_deref().unwrap();
    assert!(why.contains("a bug in fixfly") && why.contains("a bug"), "{why}");
    assert_eq!((counts.unknown, counts.solved), (1, 1));
}

#[tokio::test]
async fn a_bad_line_is_answered_and_the_next_one_is_judged() {
    let lines = vec![
        b"{".to_vec(),
        b" ".to_vec(),
        line("z", "pass"),
        line("unsupported", "pass"),
        br#"{"id": 5, "task": "x"}"#.to_vec(),
        line("t", "pass"),
    ];
    let (all, counts) = answers(Arc::default(), options(), lines).await;
    let errors: Vec<_> = all.iter().filter_map(|answer| answer.error.as_deref()).collect();
    let expected = [
        "line 1 is not JSON: see its column 1",
        "line 3 names no task of the benchmark: `z`",
        "line 4 names `unsupported`, which s does not support: s is too small",
        "line 5 has no `candidate`",
    ];
    assert_eq!(errors, expected);
    assert_eq!((&all[3].id, all[3].solved), (&Some(json!(5)), None));
    assert_eq!((all[4].line, all[4].solved), (6, Some(true)));
    assert_eq!(counts.to_string(), "1 candidate: 1 solved, 0 not solved, 4 bad lines");
}

#[tokio::test]
async fn only_tasks_of_the_split_are_accepted() {
    let train = JudgeOptions { split: Some(Split::Train), ..options() };
    let lines = vec![line("x", "pass"), line("t", "pass")];
    let (all, _) = answers(Arc::default(), train, lines).await;
    let why = all[0].error.as_deref();
    assert_eq!(why, Some("line 1 names no task of the split train: `x`"));
    assert_eq!(all[1].solved, Some(true));
}

#[tokio::test]
async fn a_benchmark_without_candidates_is_refused() {
    let issues = Arc::new(Scripted { no_evaluator: true, ..Scripted::default() });
    let why = Judge::open(issues, Arc::new(Place), options()).await.err().unwrap().to_string();
    assert!(why.contains("`fixfly grade swebench`"), "{why}");
}

#[tokio::test]
async fn a_task_keeps_no_file_in_memory() {
    let judge = judge(Arc::default(), options()).await;
    assert_eq!(judge.task("x").unwrap().statement.content(), "");
    assert_eq!(judge.sandboxes().count(), 3);
}
