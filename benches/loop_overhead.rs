//! What the loop itself costs: a scripted policy and tests that take no time.
//!
//! ```text
//! cargo bench --bench loop_overhead -- [--episodes 1000] [--turns 20] [--long 10000]
//! ```
//!
//! `--long` is the number of turns of one long episode, whose prompts are not made.
#![allow(clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use common::{flag, tree_cpu};
use fixfly_runtime::{
    Action, Attempt, Benchmark, BenchmarkError, Budget, Call, Command, DescribedBy, Evaluator,
    GroundTruth, History, Host, Issue, Lifetime, Method, Observation, Outcome, Output, Policy,
    PolicyError, Process, Sandbox, SandboxError, SandboxSpec, Split, Statement, Task, TaskKind,
    Templates, TestFailure, TestOutcome, TestReport, TestResult, Tool, Usage, Verdict, View,
    attempt,
};

/// Calls a tool that is not there, in each turn, without reading the conversation.
struct Blind;

#[async_trait]
impl Policy for Blind {
    async fn act(&self, _: View<'_>) -> Result<Action, PolicyError> {
        Ok(Action {
            text: "again".into(),
            reasoning: None,
            call: Call::Tool { name: "none".into(), args: serde_json::json!({}) },
            usage: Usage::default(),
            generation: None,
        })
    }
}

/// CPU microseconds of a turn in an episode of so many turns on an issue.
fn long(turns: u32) -> f64 {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a thread");
    let issue = Issue {
        repo: "a/b".into(),
        version: "1".into(),
        text: "It fails.".into(),
        root: "/a".into(),
        manual: String::new(),
        history: History::Last(5),
    };
    let task = Task { statement: Statement::Issue(issue), tools: Vec::new(), ..task(turns) };
    let with = Attempt {
        policy: ("blind", &Blind),
        tools: &[],
        host: &Nowhere,
        benchmark: &Nowhere,
        templates: &Templates::load(TaskKind::Issue, None).expect("templates"),
    };
    let cpu = tree_cpu();
    // Short episodes more often, so that the clock is fine enough.
    let times = (200_000 / turns).max(1);
    for _ in 0..times {
        let made = runtime.block_on(attempt(&with, &task, 0, 0, String::new())).turns.len();
        assert_eq!(made, turns as usize);
    }
    (tree_cpu() - cpu) * 1e6 / f64::from(times * turns)
}

/// Gives the same answer in each turn; with `wait`, waits before the last one.
struct Scripted {
    wait: Option<Duration>,
    waiting: AtomicUsize,
}

#[async_trait]
impl Policy for Scripted {
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError> {
        // The prompt is made each turn, as for a model.
        let text = view.messages().last().map_or(0, |message| message.content.len());
        let args = serde_json::json!({ "code": "def f(self):\n    return 1\n" });
        if let Some(wait) =
            self.wait.filter(|_| view.turns.len() + 1 == view.task.budget.turns as usize)
        {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(wait).await;
        }
        Ok(Action {
            text: format!("```python\ndef f(self):\n    return 1\n```\n{text}"),
            reasoning: None,
            call: Call::Tool { name: "submit_method".into(), args },
            usage: Usage::default(),
            generation: None,
        })
    }
}

/// A world in which every test fails at once.
struct Nowhere;

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

    async fn judge(&self, _: &Task, _: &str, _: &dyn Sandbox) -> Result<Verdict, BenchmarkError> {
        unreachable!("nothing passes")
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
        let failure = TestFailure {
            exception: "AssertionError".into(),
            message: "1 != 2".into(),
            traceback: "Traceback (most recent call last):\n  a line of a test\n".repeat(8),
            output: String::new(),
        };
        let result = |at| TestResult {
            id: format!("tests.Case.test_{at}"),
            outcome: TestOutcome::Failed,
            failure: Some(failure.clone()),
        };
        Ok(Observation {
            text: failure.traceback.clone(),
            outcome: Outcome::Failed,
            tests: Some(TestReport { results: (0..2).map(result).collect() }),
            candidate: Some(code.into()),
            patch: None,
            left_out: Vec::new(),
        })
    }

    fn patch(&self, _: &Task, _: &str) -> Result<String, BenchmarkError> {
        unreachable!("nothing passes")
    }
}

fn task(turns: u32) -> Task {
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

/// Runs the episodes at once on one thread; calls `look` when all wait.
fn run(episodes: usize, turns: u32, wait: Option<Duration>, look: fn()) -> (f64, f64) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a thread");
    let policy = Arc::new(Scripted { wait, waiting: AtomicUsize::new(0) });
    let tools: Arc<Vec<Box<dyn Tool>>> =
        Arc::new(fixfly_tools::ALL.iter().map(|entry| (entry.open)()).collect());
    let templates = Templates::load(TaskKind::Method, None).expect("templates");
    let (cpu, clock) = (tree_cpu(), Instant::now());
    runtime.block_on(async {
        let mut all = tokio::task::JoinSet::new();
        for sample in 0..episodes {
            let (policy, tools, templates) = (policy.clone(), tools.clone(), templates.clone());
            all.spawn(async move {
                let with = Attempt {
                    policy: ("scripted", &*policy),
                    tools: &tools,
                    host: &Nowhere,
                    benchmark: &Nowhere,
                    templates: &templates,
                };
                attempt(&with, &task(turns), sample as u32, 0, String::new()).await.turns.len()
            });
        }
        while wait.is_some() && policy.waiting.load(Ordering::Relaxed) < episodes {
            tokio::task::yield_now().await;
        }
        look();
        let mut made = 0;
        while let Some(turns) = all.join_next().await {
            made += turns.expect("no fault");
        }
        assert_eq!(made, episodes * turns as usize);
    });
    (tree_cpu() - cpu, clock.elapsed().as_secs_f64())
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .map_or(0.0, |kib: f64| kib / 1024.0)
}

fn main() {
    let episodes: usize = flag("--episodes", 1000);
    let turns: u32 = flag("--turns", 20);
    let before = resident_mib();
    run(episodes, 5, Some(Duration::from_secs(5)), || {
        println!("memory while all wait: {:.0} MiB resident", resident_mib())
    });
    println!(
        "memory before: {before:.0} MiB; {episodes} episodes, each waiting in its fifth turn, with a file of 13 kB"
    );
    let (cpu, wall) = run(episodes, turns, None, || {});
    let made = episodes as f64 * f64::from(turns);
    println!(
        "{episodes} parallel episodes, {turns} turns each, one thread: {:.0} turns per CPU-second, {:.0} per second of wall time",
        made / cpu,
        made / wall
    );
    let turns: u32 = flag("--long", 10_000);
    let (short, long) = (long(turns / 10), long(turns));
    println!(
        "one episode of {} turns: {short:.2} CPU microseconds a turn; of {turns} turns: {long:.2}, {:.2}x",
        turns / 10,
        long / short
    );
}
