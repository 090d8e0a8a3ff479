//! What `fixfly bench verify` costs, against fresh processes of Django's own
//! runner that find out the same, on the same processors.
//!
//! ```text
//! cargo bench --bench verify_throughput -- [--items 40 | --all] [--fresh M] [--jobs N]
//! ```
//!
//! With `--fresh M`, fresh processes check only M of the items, evenly spread; the ratios are
//! those of the costs of an item.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use common::{Cost, Peer, children, flag, methods, sample, tree_cpu};
use fixfly_benchmarks::{Item, Manifest, Methods, source};
use fixfly_policies::Open;
use fixfly_runtime::{
    Answer, Attempt, Benchmark, Policy, Ranges, Split, Task, TaskKind, Templates, Tool, attempt,
    find,
};
use fixfly_sandboxes::{HostOptions, Pool};

struct Work {
    benchmark: Arc<Methods>,
    controls: Vec<(Box<dyn Policy>, bool)>,
    tools: Vec<Box<dyn Tool>>,
    templates: Templates,
    pool: Pool,
    tasks: Ranges<Task>,
    wrong: AtomicUsize,
}

fn main() {
    let jobs: usize = flag("--jobs", std::thread::available_parallelism().map_or(1, usize::from));
    let all = std::env::args().any(|word| word == "--all");
    let (folder, mut manifest) = sample(None);
    if !all {
        manifest.items.truncate(flag("--items", 40));
    }
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let benchmark = Arc::new(methods(&folder, &manifest, None));
    let (ours, wrong) = runtime.block_on(verify(benchmark.clone(), jobs));
    let tasks = runtime.block_on(tasks(&benchmark));
    let peers: Vec<Peer> = (0..jobs).map(|_| Peer::new(&folder, "django")).collect();
    let count = tasks.len();
    let tasks = spread(tasks, flag("--fresh", count));
    let (theirs, runs) = fresh(&manifest, &benchmark, &tasks, &peers);
    println!("\n{count} items, {jobs} in parallel; items that failed: {wrong}");
    println!(
        "                                   items    CPU s   wall s      items/s   CPU s/item"
    );
    let rows = [("fixfly", count, ours), ("runtests.py, fresh processes", tasks.len(), theirs)];
    let [our, their] = rows.map(|(name, items, cost)| {
        let each = Cost { cpu: cost.cpu / items as f64, wall: cost.wall / items as f64 };
        let (rate, cpu) = (1.0 / each.wall, each.cpu);
        println!("{name:34} {items:5} {:8.1} {:8.1} {rate:12.2} {cpu:12.3}", cost.cpu, cost.wall);
        each
    });
    println!(
        "fresh processes / fixfly: CPU {:.1}x, wall {:.1}x, in {runs} fresh processes",
        their.cpu / our.cpu,
        their.wall / our.wall,
    );
}

/// `wanted` of the tasks, from all parts of their order.
fn spread(tasks: Vec<Task>, wanted: usize) -> Vec<Task> {
    let total = tasks.len();
    let is_in = |at: usize| at * wanted / total != (at + 1) * wanted / total;
    tasks.into_iter().enumerate().filter(|(at, _)| is_in(*at)).map(|(_, task)| task).collect()
}

/// In the order that `fixfly bench verify` takes them.
async fn tasks(benchmark: &Methods) -> Vec<Task> {
    let mut tasks = benchmark.tasks(Split::Benchmark).await.expect("tasks");
    tasks.sort_by(|one, other| one.id.cmp(&other.id));
    tasks
}

/// Original and stub of every item, as `fixfly bench verify` runs them.
async fn verify(benchmark: Arc<Methods>, jobs: usize) -> (Cost, usize) {
    let control = |name| {
        let entry = find("policy", fixfly_policies::ALL, name).expect("a policy");
        let Open::Answers(open) = entry.open else { unreachable!("{name} answers") };
        open(benchmark.clone())
    };
    let host = (fixfly_sandboxes::ALL[0].open)(&HostOptions::default()).expect("a host");
    let tasks = tasks(&benchmark).await;
    let work = Arc::new(Work {
        controls: vec![(control("oracle"), true), (control("null"), false)],
        tools: fixfly_tools::ALL.iter().map(|entry| (entry.open)()).collect(),
        templates: Templates::load(TaskKind::Method, None).expect("templates"),
        pool: Pool::new(host, jobs),
        tasks: Ranges::new(tasks, jobs),
        benchmark,
        wrong: AtomicUsize::new(0),
    });
    let (before, clock) = (tree_cpu(), Instant::now());
    let workers: Vec<_> =
        (0..jobs).map(|worker| tokio::spawn(check(work.clone(), worker))).collect();
    for one in workers {
        one.await.expect("no fault");
    }
    let cost = Cost { cpu: tree_cpu() - before, wall: clock.elapsed().as_secs_f64() };
    work.pool.drain().await.expect("an end");
    (cost, work.wrong.load(Ordering::Relaxed))
}

/// A worker of `fixfly bench verify`.
async fn check(work: Arc<Work>, worker: usize) {
    while let Some(task) = work.tasks.next(worker) {
        check_one(&work, task).await;
    }
}

async fn check_one(work: &Work, mut task: Task) {
    task.budget.turns = 1;
    for (policy, solves) in &work.controls {
        let with = Attempt {
            policy: ("control", &**policy),
            tools: &work.tools,
            host: &work.pool,
            benchmark: &*work.benchmark,
            templates: &work.templates,
        };
        let episode = attempt(&with, &task, 0, 0, String::new()).await;
        if episode.solved() != *solves {
            eprintln!("{}: {:?}", task.id, episode.end);
            work.wrong.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The checks of verify, each in a fresh process: the original passes its item tests and
/// the hidden ones, and fails once sabotaged; the stub fails.
fn fresh(
    manifest: &Manifest,
    benchmark: &Methods,
    tasks: &[Task],
    peers: &[Peer],
) -> (Cost, usize) {
    let (next, runs) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (before, clock) = (children(), Instant::now());
    std::thread::scope(|scope| {
        for peer in peers {
            scope.spawn(|| {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let item: &Item =
                        manifest.items.iter().find(|item| item.id == task.id).expect("an item");
                    let code =
                        |answer| benchmark.ground_truth().answer(task, answer).expect("a code");
                    let truth = code(Answer::Truth);
                    let sabotaged = source::sabotaged(&truth).expect("code");
                    let (tests, wider) = (item.tests.ids(), item.wider.ids());
                    let stub = code(Answer::Stub);
                    for (code, tests) in
                        [(&truth, &tests), (&truth, &wider), (&sabotaged, &tests), (&stub, &tests)]
                    {
                        if !tests.is_empty() {
                            peer.run(item, code, tests);
                            runs.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let cost = Cost { cpu: children() - before, wall: clock.elapsed().as_secs_f64() };
    (cost, runs.into_inner())
}
