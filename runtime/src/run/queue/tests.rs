use std::sync::atomic::{AtomicU32, Ordering};

use crate::{
    Action, Admission, BenchmarkError, Budget, Call, DescribedBy, Finish, Generation, GroundTruth,
    Machine, Method, PolicyError, Resource, RunRecord, SCHEMA, Sampling, Sandbox, SandboxError,
    SandboxSpec, Split, Statement, TaskKind, Thinking, Usage, Verdict, View, Wording,
    read_episodes,
};
use async_trait::async_trait;

use super::*;
use crate::run::{Control, Silent, Verifier};

/// A policy that follows the task's id. It needs no sandbox.
#[derive(Default)]
struct Scripted {
    calls: AtomicU32,
    stopped: tokio::sync::watch::Sender<bool>,
}

#[async_trait]
impl Policy for Scripted {
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError> {
        let calls = self.calls.fetch_add(1, Ordering::SeqCst);
        let gone = Err(PolicyError::Infrastructure("the engine is gone".into()));
        match view.task.id.as_str() {
            "fails" => return gone,
            "fails first" if calls == 0 => return gone,
            "panics" => panic!("a bug"),
            "takes a second" => tokio::time::sleep(Duration::from_secs(1)).await,
            "never ends" => std::future::pending().await,
            "waits" => {
                let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
                return Err(PolicyError::Infrastructure("stopped while it waited".into()));
            }
            _ => {}
        }
        let empty = view.task.id == "empty";
        let generation = Generation {
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
            speculation: None,
        };
        Ok(Action {
            text: String::new(),
            reasoning: None,
            call: if empty { Call::Malformed("nothing".into()) } else { Call::Submit },
            usage: Usage::default(),
            generation: empty.then_some(generation),
        })
    }

    fn stop(&self) {
        self.stopped.send_replace(true);
    }
}

struct Nowhere;

fn no<T>() -> Result<T, SandboxError> {
    Err(SandboxError::Open("there is none".into()))
}

#[async_trait]
impl Host for Nowhere {
    async fn open(&self, _: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        no()
    }

    fn isolation(&self) -> String {
        "none".into()
    }
}

#[async_trait]
impl Benchmark for Nowhere {
    async fn tasks(&self, _: Split) -> Result<Vec<Task>, BenchmarkError> {
        Ok(Vec::new())
    }

    async fn judge(&self, _: &Task, _: &str, _: &dyn Sandbox) -> Result<Verdict, BenchmarkError> {
        Ok(no()?)
    }

    fn facts(&self) -> std::collections::BTreeMap<String, String> {
        std::collections::BTreeMap::new()
    }

    fn ground_truth(&self) -> &dyn GroundTruth {
        unreachable!("not used")
    }
}

fn work(id: &str) -> Work {
    let method = Method {
        file: "a.py".into(),
        class_name: "A".into(),
        name: "f".into(),
        declaration: "def f(self):".into(),
        decorators: Vec::new(),
        description: String::new(),
        described_by: DescribedBy::Nothing,
        content: String::new(),
        faulty: None,
        options: crate::FaultOptions::default(),
    };
    let task = Task {
        id: id.into(),
        benchmark: "b".into(),
        statement: Statement::Method(method),
        sandbox: SandboxSpec::default(),
        tools: Vec::new(),
        budget: Budget { turns: 1, tokens: None, seconds: None, usd: None },
    };
    Work { task: Arc::new(task), sample: 0, retries: 0 }
}

/// Runs these tasks with this many interrupts, 100 ms apart. Returns the outcome and the
/// recorded episodes.
async fn run(ids: &[&str], interrupts: u64) -> (RunOutcome, Vec<String>) {
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
    let context = RunContext {
        policy_name: "scripted".into(),
        policy: Box::new(Scripted::default()),
        tools: Vec::new(),
        host: Arc::new(Nowhere),
        benchmark: Arc::new(Nowhere),
        templates: Templates::load(TaskKind::Method, None).unwrap(),
        seed: 0,
    };
    let (press, mut pressed) = Interrupts::channel();
    let keyboard = tokio::spawn(async move {
        for _ in 0..interrupts {
            tokio::time::sleep(Duration::from_millis(100)).await;
            press.send(()).unwrap();
        }
    });
    let queue = Queue {
        waiting: ids.iter().copied().map(work).collect(),
        jobs: 2,
        first: Some(FirstEpisodes::default()),
        until_solved: false,
    };
    let ended = queue.work_off(context, &mut pressed, &mut directory, &mut Silent).await.unwrap();
    keyboard.abort();
    let mut recorded: Vec<_> =
        read_episodes(folder.path()).unwrap().into_iter().map(|e| e.task.id).collect();
    recorded.sort();
    (ended, recorded)
}

#[tokio::test]
async fn every_attempt_is_recorded() {
    let (ended, recorded) = run(&["a", "b", "c"], 0).await;
    assert_eq!(recorded, ["a", "b", "c"]);
    assert!(!ended.stopped && ended.left == 0 && ended.failed.is_empty());
}

#[tokio::test]
async fn infrastructure_failures_are_retried_and_then_reported() {
    let (ended, recorded) = run(&["fails first", "a"], 0).await;
    assert_eq!(recorded, ["a", "fails first"]);
    assert!(ended.failed.is_empty(), "it went well the second time");

    let (ended, recorded) = run(&["fails", "a"], 0).await;
    assert_eq!(recorded, ["a", "fails"]);
    assert_eq!(ended.failed, ["fails: the engine is gone"]);
}

#[tokio::test]
async fn a_run_gives_up_after_many_consecutive_failures() {
    let all = ["fails"; 2 * MAX_CONSECUTIVE_FAILURES];
    let (ended, recorded) = run(&all, 0).await;
    assert_eq!(ended.gave_up.as_deref(), Some("the engine is gone"));
    assert!(recorded.is_empty(), "each has retries left");
    assert_eq!(ended.left, all.len(), "the same command retries every one");

    let mut mixed = all;
    for at in (0..mixed.len()).step_by(MAX_CONSECUTIVE_FAILURES / 2) {
        mixed[at] = "a";
    }
    assert_eq!(run(&mixed[..MAX_CONSECUTIVE_FAILURES], 0).await.0.gave_up, None);
}

#[tokio::test]
async fn a_bug_costs_one_episode() {
    let (ended, recorded) = run(&["panics", "a"], 0).await;
    assert_eq!(recorded, ["a"]);
    assert!(ended.broken[0].contains("a bug"), "{:?}", ended.broken);
}

#[tokio::test]
async fn the_first_interrupt_lets_what_runs_finish() {
    let (ended, recorded) = run(&["takes a second", "takes a second", "a"], 1).await;
    assert_eq!(recorded, ["takes a second"]);
    assert!(ended.stopped);
    assert_eq!(ended.left, 1);
}

#[tokio::test]
async fn the_second_interrupt_stops_at_once() {
    let (ended, recorded) = run(&["a", "never ends", "never ends", "b"], 2).await;
    assert_eq!(recorded, ["a"]);
    assert!(ended.stopped);
    assert_eq!(ended.left, 3);
}

#[tokio::test]
async fn a_wait_ends_at_the_first_interrupt_and_is_no_failure() {
    let (ended, recorded) = run(&["waits", "takes a second", "a"], 1).await;
    assert_eq!(recorded, ["takes a second"]);
    assert!(ended.stopped && ended.failed.is_empty());
    assert_eq!(ended.left, 2);
}

#[tokio::test]
async fn a_run_without_usable_answers_stops_after_the_first_episodes() {
    let (ended, recorded) = run(&["empty"; 20], 0).await;
    assert!((8..=9).contains(&ended.recorded), "one more was running: {}", ended.recorded);
    assert_eq!((ended.left, recorded.len()), (20 - ended.recorded, 1));
    let why = ended.conclude(std::path::Path::new("runs/a")).unwrap_err().to_string();
    assert!(why.contains("episodes holds a usable answer: the answers are empty"), "{why}");

    let (ended, recorded) = run(&["empty", "a", "a", "a"], 0).await;
    assert_eq!((ended.recorded, recorded.len()), (4, 2));
    assert_eq!(ended.unusable, None);
}

/// A policy whose calls wait for money, on a machine whose processors are taken.
struct Waits(Option<String>);

#[async_trait]
impl Policy for Waits {
    async fn act(&self, _: View<'_>) -> Result<Action, PolicyError> {
        unreachable!("nothing is attempted")
    }

    fn waiting(&self) -> Option<String> {
        self.0.clone()
    }

    fn waiting_for(&self) -> Vec<(Resource, usize)> {
        vec![(Resource::Money, 2), (Resource::Requests, 1)]
    }
}

struct Taken(Arc<Admission>);

#[async_trait]
impl Host for Taken {
    async fn open(&self, _: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        no()
    }

    fn isolation(&self) -> String {
        "none".into()
    }

    fn admission(&self) -> Option<Arc<Admission>> {
        Some(self.0.clone())
    }
}

#[tokio::test]
async fn the_progress_names_what_most_episodes_wait_for_unless_the_policy_has_words() {
    let admission = Admission::of_machine();
    let context = |words: Option<&str>| RunContext {
        policy_name: "waits".into(),
        policy: Box::new(Waits(words.map(str::to_owned))),
        tools: Vec::new(),
        host: Arc::new(Taken(admission.clone())),
        benchmark: Arc::new(Nowhere),
        templates: Templates::load(TaskKind::Method, None).unwrap(),
        seed: 0,
    };
    let shown = |words| context(words).waiting().unwrap_or_default();
    assert_eq!(shown(None), "waiting for the spend limit: 2 episodes");
    let mut taken = Vec::new();
    for _ in 0..admission.running_at_once() {
        taken.push(admission.cpu().await);
    }
    let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(admission.cpu())).collect();
    for one in &mut waiting {
        assert!(crate::admission::tests::is_ready(one.as_mut()).is_none());
    }
    assert_eq!(shown(None), "waiting for CPU: 100 episodes");
    assert_eq!(shown(Some("1 request waits 3s")), "1 request waits 3s");
}

#[tokio::test]
async fn a_control_is_tried_again_after_an_infrastructure_failure() {
    fn verifier() -> Verifier {
        Verifier {
            controls: vec![Control {
                name: "null",
                solves: false,
                policy: Box::new(Scripted::default()),
            }],
            benchmark: Arc::new(Nowhere),
            tools: Vec::new(),
            host: Arc::new(Nowhere),
            templates: Templates::load(TaskKind::Method, None).unwrap(),
        }
    }
    for (id, failed) in [("fails first", 0), ("fails", 1)] {
        let tasks = [Task::clone(&work(id).task)];
        let found = verifier().verify(tasks, 1, |_| {}).await.unwrap();
        assert_eq!(found.failed().len(), failed, "{id}: {found:?}");
    }
}
