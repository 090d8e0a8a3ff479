//! The loop with a scripted policy: what is judged, and what is recorded.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{
    Action, Admission, Attempt, Benchmark, BenchmarkError, Boundary, Budget, Call, Change, Command,
    DescribedBy, End, Episode, Evaluator, FailureKind, GroundTruth, History, Host, Issue, LeftOut,
    LeftOutReason, Limit, Memory, Meter, Method, Observation, Outcome, Output, Policy, PolicyError,
    Process, Resource, Sandbox, SandboxError, SandboxSpec, Split, Statement, Task, Templates,
    TestOutcome, TestReport, TestResult, Timings, Tool, ToolContext, ToolError, ToolSpec, Turn,
    Usage, Verdict, View, WorkTree, attempt,
};
use serde_json::{Value, json};

/// A world with or without a work tree, in which only `good` is solved.
#[derive(Clone, Copy)]
struct World {
    has_tree: bool,
    has_unreadable_tree: bool,
}

fn large() -> LeftOut {
    let reason = LeftOutReason::TooLarge;
    LeftOut { path: "big.log".into(), reason, bytes: Some(1), more: 0 }
}

#[async_trait]
impl Benchmark for World {
    async fn tasks(&self, _: Split) -> Result<Vec<Task>, BenchmarkError> {
        Ok(Vec::new())
    }

    fn evaluator(&self) -> Option<&dyn Evaluator> {
        (!self.has_tree).then_some(self)
    }

    fn work_tree(&self) -> Option<&dyn WorkTree> {
        self.has_tree.then_some(self)
    }

    async fn judge(
        &self,
        _: &Task,
        submission: &str,
        _: &dyn Sandbox,
    ) -> Result<Verdict, BenchmarkError> {
        let solved = submission.contains("good");
        Ok(Verdict { solved, graded: Some(submission.into()), ..Verdict::default() })
    }

    fn facts(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn ground_truth(&self) -> &dyn GroundTruth {
        unreachable!("the loop does not ask")
    }
}

#[async_trait]
impl Evaluator for World {
    async fn evaluate(
        &self,
        _: &Task,
        candidate: &str,
        _: &dyn Sandbox,
    ) -> Result<Observation, BenchmarkError> {
        let outcome = if candidate.contains("bad") { Outcome::Failed } else { Outcome::Passed };
        Ok(Observation {
            tests: Some(TestReport::default()),
            candidate: Some(candidate.trim().into()),
            ..Observation::new(outcome, "seen")
        })
    }

    fn patch(&self, _: &Task, candidate: &str) -> Result<String, BenchmarkError> {
        Ok(format!("+{candidate}"))
    }
}

#[async_trait]
impl WorkTree for World {
    async fn run_tests(
        &self,
        _: &Task,
        _: &[String],
        _: &dyn Sandbox,
    ) -> Result<Observation, BenchmarkError> {
        unreachable!("the loop runs no tests")
    }

    async fn change(&self, _: &Task, _: &dyn Sandbox) -> Result<Change, BenchmarkError> {
        match self.has_unreadable_tree {
            true => Err(BenchmarkError::Broken("the tree cannot be read".into())),
            false => Ok(Change { patch: Some("+good".into()), left_out: vec![large()] }),
        }
    }
}

#[async_trait]
impl Host for World {
    async fn open(&self, _: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        Ok(Box::new(*self))
    }

    fn isolation(&self) -> String {
        "none".into()
    }
}

#[async_trait]
impl Sandbox for World {
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

/// Submits its text as a candidate, or does nothing in the work tree.
struct Do;

#[async_trait]
impl Tool for Do {
    fn spec(&self) -> ToolSpec {
        ToolSpec { name: "do".into(), description: String::new(), parameters: json!({}) }
    }

    async fn call(&self, args: Value, context: ToolContext<'_>) -> Result<Observation, ToolError> {
        if context.task.statement.work_tree().is_some() {
            return Ok(Observation::new(Outcome::Done, "done"));
        }
        let candidate = args["text"].as_str().unwrap_or_default();
        Ok(context.evaluator()?.evaluate(context.task, candidate, context.sandbox).await?)
    }
}

/// Makes these calls, then submits.
struct Scripted(Vec<Call>);

#[async_trait]
impl Policy for Scripted {
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError> {
        Ok(action(self.0.get(view.turns.len()).cloned().unwrap_or(Call::Submit)))
    }
}

fn action(call: Call) -> Action {
    let text = String::new();
    Action { text, reasoning: None, call, usage: Usage::default(), generation: None }
}

fn say(text: &str) -> Call {
    Call::Tool { name: "do".into(), args: json!({ "text": text }) }
}

fn method() -> Statement {
    Statement::Method(Method {
        file: "a.py".into(),
        class_name: "A".into(),
        name: "f".into(),
        declaration: "def f(self):".into(),
        decorators: Vec::new(),
        description: String::new(),
        described_by: DescribedBy::Nothing,
        content: String::new(),
        faulty: None,
        options: fixfly_runtime::FaultOptions::default(),
    })
}

fn issue() -> Statement {
    Statement::Issue(Issue {
        repo: "a/b".into(),
        version: String::new(),
        text: "It breaks.".into(),
        root: "/repo".into(),
        manual: String::new(),
        history: History::All,
    })
}

async fn episode(statement: Statement, calls: Vec<Call>) -> Episode {
    let world = World { has_tree: statement.work_tree().is_some(), has_unreadable_tree: false };
    episode_in(world, statement, calls).await
}

async fn episode_in(world: World, statement: Statement, calls: Vec<Call>) -> Episode {
    episode_on(&world, world, statement, calls).await
}

async fn episode_on(
    host: &dyn Host,
    world: World,
    statement: Statement,
    calls: Vec<Call>,
) -> Episode {
    let templates = Templates::load(statement.kind(), None).unwrap();
    let tools: Vec<Box<dyn Tool>> = vec![Box::new(Do)];
    let task = Task {
        id: "a".into(),
        benchmark: "world".into(),
        budget: Budget { turns: 5, ..statement.budget() },
        statement,
        sandbox: SandboxSpec::default(),
        tools: vec!["do".into()],
    };
    let policy = ("scripted", &Scripted(calls) as &dyn Policy);
    let with = Attempt { policy, tools: &tools, host, benchmark: &world, templates: &templates };
    attempt(&with, &task, 0, 0, String::new()).await
}

#[tokio::test]
async fn a_candidate_is_judged_as_recorded_and_becomes_a_diff_at_the_end() {
    let episode = episode(method(), vec![say("bad"), say(" good\n"), say("bad")]).await;
    let seen = |at: usize| &episode.turns[at].observation;
    assert_eq!((seen(0).candidate.as_deref(), seen(0).patch.as_deref()), (Some("bad"), None));
    assert_eq!((seen(1).candidate.as_deref(), seen(1).patch.as_deref()), (Some("good"), None));
    assert_eq!((episode.turns.len(), &episode.end, episode.schema), (2, &End::Solved, 1));
    assert_eq!(episode.verdict.unwrap().graded.as_deref(), Some("good"));
    assert_eq!(episode.patch.as_deref(), Some("+good"));
}

#[tokio::test]
async fn a_pass_that_the_judge_does_not_confirm_is_none() {
    let episode = episode(method(), vec![say("lucky")]).await;
    let seen = &episode.turns[0].observation;
    assert_eq!(seen.outcome, Outcome::Failed);
    assert!(seen.text.contains("failed when run again"), "{}", seen.text);
    assert_eq!((&episode.end, episode.patch, episode.verdict), (&End::Submitted, None, None));
}

#[tokio::test]
async fn the_change_of_a_work_tree_is_judged_however_the_episode_ends() {
    for (calls, end) in [
        (vec![say("a")], End::Submitted),
        (vec![say("a"); 9], End::BudgetSpent { limit: Limit::Turns }),
    ] {
        let episode = episode(issue(), calls).await;
        assert_eq!((&episode.end, episode.schema), (&end, 2));
        assert!(episode.solved());
        assert_eq!(episode.patch.as_deref(), Some("+good"));
        assert_eq!(episode.left_out, [large()]);
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_read_is_an_infrastructure_failure() {
    let world = World { has_tree: true, has_unreadable_tree: true };
    for calls in [vec![say("a")], vec![say("a"); 9]] {
        let episode = episode_in(world, issue(), calls).await;
        let why = "the tree cannot be read".into();
        let (at, kind) = (Boundary::Benchmark, FailureKind::Infrastructure);
        assert_eq!(episode.end, End::Failed { at, kind, why });
        assert!(episode.infrastructure_failure() && episode.patch.is_none());
    }
}

/// A machine without free memory.
struct Full;

impl Meter for Full {
    fn memory(&self) -> Option<Memory> {
        Some(Memory { total: 1 << 30, available: 0 })
    }

    fn idle_cpus(&self) -> Option<f64> {
        None
    }
}

/// Opens sandboxes on such a machine.
struct Scarce(World, Arc<Admission>);

#[async_trait]
impl Host for Scarce {
    async fn open(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        self.0.open(spec).await
    }

    fn isolation(&self) -> String {
        self.0.isolation()
    }

    fn admission(&self) -> Option<Arc<Admission>> {
        Some(self.1.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn an_episode_waits_for_memory_for_its_own_sandbox_and_not_for_the_judge_s() {
    let world = World { has_tree: true, has_unreadable_tree: false };
    let host = Scarce(world, Admission::new(1, Box::new(Full)));
    let other = host.1.memory(64).await;
    let waiting = || host.1.waiting()[1];
    let (episode, ()) =
        tokio::join!(episode_on(&host, world, issue(), vec![say("a"), say("b")]), async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            assert_eq!(waiting(), (Resource::Memory, 1));
            drop(other);
        });
    assert!(episode.solved() && episode.turns.len() == 2, "{:?}", episode.end);
    assert_eq!(waiting(), (Resource::Memory, 0));
    assert!(host.1.try_memory(64).is_some(), "the episode gave its memory back");
}

#[tokio::test]
async fn malformed_answers_in_a_row_end_an_issue_only() {
    for (statement, limit) in [(issue(), Limit::Malformed), (method(), Limit::Turns)] {
        let episode = episode(statement, vec![Call::Malformed("no".into()); 9]).await;
        assert_eq!(episode.end, End::BudgetSpent { limit });
        assert!(episode.verdict.is_none());
    }
}

#[test]
fn feedback_is_worded_by_the_kind_of_task() {
    let failed = TestResult { id: "t".into(), outcome: TestOutcome::Failed, failure: None };
    let observation = Observation {
        tests: Some(TestReport { results: vec![failed] }),
        ..Observation::new(Outcome::Failed, "seen")
    };
    let check = |statement: &Statement, expected: [&str; 3]| {
        let mut turns: Vec<Turn> = Vec::new();
        for expected in expected {
            let (action, left) = (action(say("a")), statement.budget());
            let feedback = statement.feedback(&turns, &action.call, &observation, left);
            assert_eq!(feedback.message, expected);
            let (observation, timings) = (observation.clone(), Timings::default());
            turns.push(Turn { action, observation, feedback, timings });
        }
    };
    let same = "Since the last attempt: still failing 1: t.";
    check(&method(), ["", same, same]);
    let same = "Since the tests last ran: still failing 1: t.";
    let often = "The same call has now given the same result 3 times in a row: do something else.";
    check(&issue(), ["", same, &format!("{same} {often}")]);
}
