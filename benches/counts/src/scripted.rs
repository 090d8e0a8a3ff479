//! A world without processes: a policy that follows a script, and tests that take no time.
//! `benches/loop_overhead.rs` uses this file, too.
// Each program uses some of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{
    Action, Attempt, Benchmark, BenchmarkError, Budget, Call, Command, DescribedBy, Episode,
    Evaluator, GroundTruth, Host, Lifetime, Method, Observation, Outcome, Output, Policy,
    PolicyError, Process, Sandbox, SandboxError, SandboxSpec, Split, Statement, Task, TaskKind,
    Templates, TestFailure, TestOutcome, TestReport, TestResult, Tool, Usage, Verdict, View,
    attempt,
};

/// What the policy submits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    /// The same wrong method in each turn.
    NeverSolves,
    /// A method that passes, in the last turn.
    SolvesLast,
}

/// Submits a method in each turn; with `wait`, waits before the last one.
pub(crate) struct Scripted {
    pub(crate) script: Script,
    pub(crate) wait: Option<Duration>,
    pub(crate) waiting: AtomicUsize,
}

impl Scripted {
    pub(crate) fn new(script: Script, wait: Option<Duration>) -> Scripted {
        Scripted { script, wait, waiting: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl Policy for Scripted {
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError> {
        // The prompt is made each turn, as for a model.
        let length = view.messages().last().map_or(0, |message| message.content.len());
        let is_last = view.turns.len() + 1 == view.task.budget.turns as usize;
        if let Some(wait) = self.wait.filter(|_| is_last) {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(wait).await;
        }
        let value = if is_last && self.script == Script::SolvesLast { 2 } else { 1 };
        let code = format!("def f(self):\n    return {value}\n");
        let args = serde_json::json!({ "code": code });
        Ok(Action {
            text: format!("Sample {}.\n```python\n{code}```\n{length}", view.sample),
            reasoning: None,
            call: Call::Tool { name: "submit_method".into(), args },
            usage: Usage::default(),
            generation: None,
        })
    }
}

/// A world in which tests end at once, and pass only what returns 2.
pub(crate) struct Nowhere;

#[async_trait]
impl Host for Nowhere {
    async fn open(&self, _: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        Ok(Box::new(Nowhere))
    }

    fn isolation(&self) -> String {
        "none".into()
    }
}

#[async_trait]
impl Sandbox for Nowhere {
    async fn exec(&self, _: &Command) -> Result<Output, SandboxError> {
        unreachable!("nothing is run")
    }

    async fn spawn(&self, _: &str, _: &Command) -> Result<Arc<dyn Process>, SandboxError> {
        unreachable!("nothing is run")
    }

    async fn read(&self, _: &str) -> Result<Vec<u8>, SandboxError> {
        unreachable!("nothing is read")
    }

    async fn write(&self, _: &str, _: &[u8]) -> Result<(), SandboxError> {
        unreachable!("nothing is written")
    }

    async fn close(self: Box<Self>) -> Result<(), SandboxError> {
        Ok(())
    }
}

#[async_trait]
impl Benchmark for Nowhere {
    async fn tasks(&self, _: Split) -> Result<Vec<Task>, BenchmarkError> {
        Ok(Vec::new())
    }

    fn evaluator(&self) -> Option<&dyn Evaluator> {
        Some(self)
    }

    async fn judge(
        &self,
        _: &Task,
        code: &str,
        _: &dyn Sandbox,
    ) -> Result<Verdict, BenchmarkError> {
        let tests = tests(code);
        Ok(Verdict { solved: tests.passed(), tests, ..Verdict::default() })
    }

    fn facts(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn ground_truth(&self) -> &dyn GroundTruth {
        unreachable!("nobody asks")
    }
}

#[async_trait]
impl Evaluator for Nowhere {
    async fn evaluate(
        &self,
        _: &Task,
        code: &str,
        _: &dyn Sandbox,
    ) -> Result<Observation, BenchmarkError> {
        let tests = tests(code);
        let text = tests.results.first().and_then(|result| result.failure.as_ref());
        Ok(Observation {
            text: text.map_or_else(|| "All passed.".into(), |failure| failure.traceback.clone()),
            outcome: if tests.passed() { Outcome::Passed } else { Outcome::Failed },
            tests: Some(tests),
            candidate: Some(code.into()),
            patch: None,
            left_out: Vec::new(),
        })
    }

    fn patch(&self, _: &Task, code: &str) -> Result<String, BenchmarkError> {
        Ok(format!("--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n{code}"))
    }
}

/// The results of two tests.
fn tests(code: &str) -> TestReport {
    let passes = code.contains("return 2");
    let failure = TestFailure {
        exception: "AssertionError".into(),
        message: "1 != 2".into(),
        traceback: "Traceback (most recent call last):\n  a line of a test\n".repeat(8),
        output: String::new(),
    };
    let result = |at| TestResult {
        id: format!("tests.Case.test_{at}"),
        outcome: if passes { TestOutcome::Passed } else { TestOutcome::Failed },
        failure: (!passes).then(|| failure.clone()),
    };
    TestReport { results: (0..2).map(result).collect() }
}

/// A task with a file of 13 kB.
pub(crate) fn task(turns: u32) -> Task {
    let method = Method {
        file: "a.py".into(),
        class_name: "A".into(),
        name: "f".into(),
        declaration: "def f(self):".into(),
        decorators: Vec::new(),
        description: "Does what it does.".into(),
        described_by: DescribedBy::Docstring,
        content: "class A:\n    x = 1\n".repeat(700),
        faulty: None,
        options: fixfly_runtime::FaultOptions::default(),
    };
    Task {
        id: "a.py::A.f".into(),
        benchmark: "none".into(),
        statement: Statement::Method(method),
        sandbox: SandboxSpec { lifetime: Lifetime::Turn, ..SandboxSpec::default() },
        tools: vec!["submit_method".into()],
        budget: Budget { turns, tokens: None, seconds: None, usd: None },
    }
}

/// All tools.
pub(crate) fn tools() -> Vec<Box<dyn Tool>> {
    fixfly_tools::ALL.iter().map(|entry| (entry.open)()).collect()
}

/// An episode of that many turns, on one thread.
pub(crate) fn episode(turns: u32, sample: u32, script: Script) -> Episode {
    let thread =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a thread");
    let policy = Scripted::new(script, None);
    let templates = Templates::load(TaskKind::Method, None).expect("the built-in prompts");
    let with = Attempt {
        policy: ("scripted", &policy),
        tools: &tools(),
        host: &Nowhere,
        benchmark: &Nowhere,
        templates: &templates,
    };
    thread.block_on(attempt(&with, &task(turns), sample, 0, String::new()))
}
