//! What the loop itself costs: a scripted policy and tests that take no time.
//!
//! ```text
//! cargo bench --bench loop_overhead -- [--episodes 1000] [--turns 20] [--long 10000]
//! cargo bench --bench loop_overhead -- --scale --at-once 16 [--episodes 1000] [--turns 20]
//! ```
//!
//! `--long` is the number of turns of one long episode, whose prompts are not made. The second
//! form is for `scripts/peers/scale`: it prints episodes, seconds, CPU seconds and mebibytes as
//! JSON.
#![allow(clippy::print_stdout)]

mod common;
#[path = "counts/src/scripted.rs"]
mod scripted;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use common::{flag, tree_cpu};
use fixfly_runtime::{
    Action, Attempt, Call, History, Issue, Parallel, Policy, PolicyError, Statement, Task,
    TaskKind, Templates, Tool, Usage, View, attempt,
};
use scripted::{Nowhere, Script, Scripted, task, tools};

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

/// Runs the episodes on one thread, so many at once; calls `look` when all wait.
fn run(
    (episodes, at_once): (usize, usize),
    turns: u32,
    wait: Option<Duration>,
    look: fn(),
) -> (f64, f64) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a thread");
    let policy = Arc::new(Scripted::new(Script::NeverSolves, wait));
    let tools: Arc<Vec<Box<dyn Tool>>> = Arc::new(tools());
    let templates = Templates::load(TaskKind::Method, None).expect("templates");
    let one = |sample: usize| {
        let (policy, tools, templates) = (policy.clone(), tools.clone(), templates.clone());
        async move {
            let with = Attempt {
                policy: ("scripted", &*policy),
                tools: &tools,
                host: &Nowhere,
                benchmark: &Nowhere,
                templates: &templates,
            };
            attempt(&with, &task(turns), sample as u32, 0, String::new()).await.turns.len()
        }
    };
    let (cpu, clock) = (tree_cpu(), Instant::now());
    runtime.block_on(async {
        let mut all = Parallel::new(at_once, (0..episodes).map(one));
        let mut made = 0;
        if wait.is_some() {
            // Nothing runs before the first is asked for, and none ends while all wait.
            let first = tokio::time::timeout(Duration::from_millis(1), all.next()).await;
            assert!(first.is_err(), "an episode did not wait");
        }
        while wait.is_some() && policy.waiting.load(Ordering::Relaxed) < episodes {
            tokio::task::yield_now().await;
        }
        look();
        while let Some(turns) = all.next().await {
            made += turns.expect("no fault");
        }
        assert_eq!(made, episodes * turns as usize);
    });
    (tree_cpu() - cpu, clock.elapsed().as_secs_f64())
}

fn resident_mib() -> f64 {
    memory_mib("VmRSS:")
}

fn most_mib() -> f64 {
    memory_mib("VmHWM:")
}

fn memory_mib(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this process");
    let line = status.lines().find(|line| line.starts_with(key)).expect("its memory");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .map_or(0.0, |kib: f64| kib / 1024.0)
}

fn main() {
    let episodes: usize = flag("--episodes", 1000);
    let turns: u32 = flag("--turns", 20);
    let before = resident_mib();
    if std::env::args().any(|word| word == "--scale") {
        let (cpu, wall) = run((episodes, flag("--at-once", 1)), turns, None, || {});
        return println!("[{episodes}, {wall}, {cpu}, {}]", most_mib());
    }
    run((episodes, episodes), 5, Some(Duration::from_secs(5)), || {
        println!("memory while all wait: {:.0} MiB resident", resident_mib())
    });
    println!(
        "memory before: {before:.0} MiB; {episodes} episodes, each waiting in its fifth turn, with a file of 13 kB"
    );
    let (cpu, wall) = run((episodes, episodes), turns, None, || {});
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
